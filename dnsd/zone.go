package dnsd

import (
	"encoding/binary"
	"net/netip"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	"github.com/protoduction/micro/cloud"
)

const (
	ttl = 5 // seconds; how long a client may still use an instance that was removed

	negativePrivate  = 5  // seconds; short, because a name may be looked up just before its push
	negativeInternal = 10 // seconds
	negativeLocal    = 3600
)

// Zone is all names and addresses that we answer for, at one revision. It is immutable: see Compile.
type Zone struct {
	domain   string // the private domain, lower case, no dot at the end
	private  authority
	internal authority
	local    authority

	hosts    *iradix.Tree[owners]       // names in the private domain
	services *iradix.Tree[*endpoints]   // names in "internal", the group first
	groups   map[string]bool            // all existing groups: only these are ours below "internal"
	addrs    *iradix.Tree[cloud.AppRef] // addresses of instances, ready or not
	routers  []netip.Addr               // of the other nodes that are alive
	own      []netip.Prefix             // of this node's containers
	subnets  []netip.Prefix             // of all nodes' containers

	challenges map[string]*challengeZone // by origin, wire form
}

// authority is the apex of one of our zones.
type authority struct {
	origin   []byte // wire form
	labels   int
	soa, ns  []byte // RDATA
	negative uint32 // seconds
}

// owners says why a name exists in the private domain: one bit for each kind of owner. The name is deleted
// with its last owner.
type owners uint8

const (
	ownApp owners = 1 << iota
	ownRelease
	ownHost
	ownNode // the node's own names
	// ownSecure is set beside another owner: the host is to be asked by TLS alone.
	ownSecure
)

// endpoints are the healthy instances behind a name in ".internal", sorted by address.
type endpoints struct {
	v4, v6 []netip.Addr
	ports  map[netip.Addr]uint16
}

// NewZone returns the zone of an empty cloud. The domain must have at least two labels: with one label,
// clients whose search list has the domain would send lookups of all bare names here. The subnets are those
// of the node's own containers.
func NewZone(domain string, subnets ...netip.Prefix) (*Zone, error) {
	origin, err := wireName(domain)
	if err != nil {
		return nil, err
	}
	if countLabels(origin) < 2 || origin[1] == '*' {
		return nil, cloud.Errorf(cloud.Invalid, "private domain %q must have at least two labels", domain).WithHint("--domain micro.test")
	}
	z := &Zone{
		domain:   wireText(origin),
		hosts:    iradix.New[owners](),
		services: iradix.New[*endpoints](),
		groups:   map[string]bool{string(cloud.DefaultGroup): true},
		addrs:    iradix.New[cloud.AppRef](),
		own:      subnets,
		subnets:  subnets,
	}
	z.private, z.internal, z.local = authority{origin: origin}, authority{origin: []byte("\x08internal\x00")}, authority{origin: []byte("\x09localhost\x00")}
	z.setSerial(0)
	z.hosts, _, _ = z.hosts.Insert([]byte("\x02ns"), ownNode)
	z.hosts, _, _ = z.hosts.Insert([]byte("\x03api"), ownNode)
	return z, nil
}

// Domain is the private domain, without a dot at the end.
func (z *Zone) Domain() string { return z.domain }

// Names returns the number of names in the private domain.
func (z *Zone) Names() int { return z.hosts.Len() }

func (z *Zone) setSerial(serial uint32) {
	ns := append([]byte("\x02ns"), z.private.origin...)
	mail := append([]byte("\x0ahostmaster"), z.private.origin...)
	z.private = newAuthority(z.private.origin, ns, mail, serial, negativePrivate)
	z.internal = newAuthority(z.internal.origin, ns, mail, serial, negativeInternal)
	z.local = newAuthority(z.local.origin, z.local.origin, append([]byte("\x04root"), z.local.origin...), 1, negativeLocal)
}

func newAuthority(origin, ns, mail []byte, serial, negative uint32) authority {
	soa := append(append([]byte{}, ns...), mail...)
	for _, n := range []uint32{serial, 3600, 600, 86400, negative} { // there are no zone transfers: only the last is used
		soa = binary.BigEndian.AppendUint32(soa, n)
	}
	return authority{origin: origin, labels: countLabels(origin), soa: soa, ns: ns, negative: negative}
}

// contains reports whether a wire name in lower case is the zone's apex or below it.
func (a *authority) contains(name []byte) bool {
	cut := len(name) - len(a.origin)
	if cut < 0 || string(name[cut:]) != string(a.origin) {
		return false
	}
	i := 0 // the suffix must begin at a label's start
	for i < cut {
		i += int(name[i]) + 1
	}
	return i == cut
}

// existence says whether a name exists in a tree.
type existence uint8

const (
	absent           existence = iota
	emptyNonTerminal           // something exists below it (an empty non-terminal, RFC 8020)
	present
)

// find looks up a key in a tree.
func find[T any](tree *iradix.Tree[T], key []byte) (T, existence) {
	if v, ok := tree.Get(key); ok {
		return v, present
	}
	var none T
	if len(key) == 0 || hasBelow(tree, key) {
		return none, emptyNonTerminal
	}
	return none, absent
}

// findHost looks up a name of the private domain. A wildcard matches exactly one label, also if there are
// names below the match, as in the router's table. By RFC 4592 it would match any depth, and not names with
// others below them: DNS would then send clients to a router that does not know the host.
func (z *Zone) findHost(key []byte) existence {
	_, found := find(z.hosts, key)
	if found == present || len(key) == 0 {
		return found
	}
	var room [maxName + 2]byte
	if _, ok := z.hosts.Get(append(append(room[:0], key[:lastLabel(key)]...), "\x01*"...)); ok {
		return present
	}
	return found
}

// asksTLS reports whether the host of a key, which exists, is to be asked by TLS alone.
func (z *Zone) asksTLS(key []byte) bool {
	by, ok := z.hosts.Get(key)
	if !ok && len(key) > 0 {
		var room [maxName + 2]byte
		by, _ = z.hosts.Get(append(append(room[:0], key[:lastLabel(key)]...), "\x01*"...))
	}
	return by&ownSecure != 0
}

// lastLabel returns the offset of a key's last label.
func lastLabel(key []byte) int {
	last := 0
	for i := 0; i < len(key); i += int(key[i]) + 1 {
		last = i
	}
	return last
}

func hasBelow[T any](tree *iradix.Tree[T], key []byte) bool {
	it := tree.Root().Iterator()
	it.SeekPrefix(key)
	_, _, ok := it.Next()
	return ok
}
