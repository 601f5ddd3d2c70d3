package network

import (
	"context"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// Config describes a node's network.
type Config struct {
	Name   string       // distinguishes this node's links, table and pins from those of other nodes on the machine
	Subnet netip.Prefix // IPv4, /8 to /29; the zero Prefix lets Open choose a free /20
	State  string       // folder for pinned namespaces, preferably in memory
	// Leaving means that the caller will only remove what an earlier Open made: collisions with the host don't matter.
	Leaving bool
	// Key is the node's key for WireGuard, and Port its UDP port. They are used only if there are peers by WireGuard.
	Key    *ecdh.PrivateKey
	Port   uint16
	Logger *slog.Logger
}

// Endpoint is a container's connection to the network.
type Endpoint struct {
	ID     string
	Tenant uint32 // at most MaxTenant
	IP     netip.Addr
	PID    int    // a process in the namespaces, if one runs; needed to restore their pins
	App    string // "GROUP/APP", by whose policy it may reach what is outside; "" for none
	Access

	UserNS, NetNS string // files on which the namespaces are mounted
}

// Access says which connections between containers of a group are allowed. The zero Access allows all that involve no
// service.
type Access struct {
	Service string   // what the container runs, "" for no service
	Reaches []string // services that it may open connections to
}

// Network manages the host's side of the containers' network. It is safe for concurrent use.
type Network struct {
	cfg    Config
	log    *slog.Logger
	prefix string // of every link's name, six letters
	table  string // nftables table's name
	subnet netip.Prefix
	mtu    int

	holders   holders
	mu        sync.Mutex // guards endpoints, the overlay, and the table's elements, which mirror them
	endpoints map[string]*endpoint
	rules     map[string]int // number of rules per chain after the last rebuild; nil before
	mute      bool           // the kernel cannot reject packets
	cursor    netip.Addr     // the address assigned last

	spare spare
	overlay
	egress egress
}

// Open validates the configuration and prepares the host: the gateway's address, IP forwarding, and the route that
// makes unassigned addresses unreachable. It does not change the firewall, which Sync does.
func Open(cfg Config) (*Network, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if cfg.Name == "" {
		errs = append(errs, errors.New("the name is missing"))
	}
	if !filepath.IsAbs(cfg.State) {
		errs = append(errs, fmt.Errorf("state folder %q is not absolute", cfg.State))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "network: %w", err)
	}
	hash := nameHash(cfg.Name)
	n := &Network{
		cfg: cfg, log: cfg.Logger,
		prefix: linkPrefix(hash), table: tablePrefix + hash,
		endpoints: map[string]*endpoint{},
		spare:     spare{attached: make(chan struct{}, 1)},
	}
	var err error
	if n.subnet, err = n.chooseSubnet(cfg.Subnet); err != nil {
		return nil, err
	}
	n.cursor = randomAddr(n.subnet)
	if err := os.MkdirAll(n.cfg.State, 0o711); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if cfg.Leaving {
		return n, nil
	}
	if err := n.prepareHost(); err != nil {
		return nil, errors.Join(err, n.Destroy())
	}
	return n, nil
}

// Subnet returns the subnet of the containers.
func (n *Network) Subnet() netip.Prefix { return n.subnet }

// Gateway returns the node's own address in the subnet. Containers can reach the node only there, and only its ports 53,
// 80 and 443.
func (n *Network) Gateway() netip.Addr { return gateway(n.subnet) }

// Reserve assigns an address to a container and returns where its namespaces will be. It makes nothing yet. Detach
// releases the address.
func (n *Network) Reserve(id string, tenant uint32, a Access) (Endpoint, error) {
	if tenant > MaxTenant {
		return Endpoint{}, cloud.Errorf(cloud.Invalid, "group number %d is too high: there are user IDs for only %d groups", tenant, MaxTenant+1)
	}
	ep, err := n.reserve(id, tenant, a)
	if err != nil {
		return Endpoint{}, err
	}
	return ep.Endpoint, nil
}

// Attach makes the namespaces of a reserved endpoint and connects them to the network. After an error nothing is left,
// not even the reservation.
func (n *Network) Attach(ctx context.Context, id string) error {
	n.mu.Lock()
	ep := n.endpoints[id]
	n.mu.Unlock()
	if ep == nil {
		return fmt.Errorf("network of %s: no address is reserved", id)
	}
	err := ctx.Err()
	if err == nil && !n.spare.take(ep) {
		// If one of the spare's pins was missing, take may have pinned the other one: remove it first.
		err = errors.Join(ep.removeNamespaces(), ep.makeNamespaces())
	}
	if err == nil {
		err = n.join(ep)
	}
	if err != nil {
		return fmt.Errorf("network of %s: %w", id, errors.Join(err, n.detach(ep)))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ep.joined = true
	return nil
}

// reserve assigns the next free address after the one assigned last, so that an address to which connections may still
// be open is reused as late as possible.
func (n *Network) reserve(id string, group uint32, a Access) (*endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.endpoints[id]; ok {
		return nil, fmt.Errorf("network of %s: an address is already reserved", id)
	}
	used := make(map[netip.Addr]bool, len(n.endpoints))
	for _, ep := range n.endpoints {
		used[ep.IP] = true
	}
	ip, ok := nextFree(n.subnet, n.cursor, used)
	if !ok {
		return nil, cloud.Errorf(cloud.Unavailable, "all %d addresses of %s are taken", len(used), n.subnet).
			WithHint("stop some instances, or use a larger network with micro up --subnet")
	}
	n.cursor = ip
	ep := n.endpoint(Endpoint{ID: id, Tenant: group, IP: ip, Access: a})
	n.endpoints[id] = ep
	n.holders.add(ep.IP, group)
	return ep, nil
}

// endpoint returns an endpoint with the names that are derived from its ID.
func (n *Network) endpoint(e Endpoint) *endpoint {
	e.UserNS, e.NetNS = filepath.Join(n.cfg.State, e.ID+".user"), filepath.Join(n.cfg.State, e.ID+".net")
	return &endpoint{Endpoint: e, link: n.link(e.ID)}
}

// Detach removes what Reserve and Attach made. It is not an error if there is nothing.
func (n *Network) Detach(id string) error {
	n.mu.Lock()
	ep := n.endpoints[id]
	n.mu.Unlock()
	if ep == nil {
		ep = n.endpoint(Endpoint{ID: id})
	}
	return n.detach(ep)
}

func (n *Network) detach(ep *endpoint) error {
	n.mu.Lock()
	ep.joined = false // or mend would restore it
	n.mu.Unlock()
	err := errors.Join(ep.unlink(), ep.removeNamespaces())
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endpoints[ep.ID] != ep {
		return err
	}
	delete(n.endpoints, ep.ID)
	n.holders.remove(ep.IP)
	if ep.ruled {
		err = errors.Join(err, n.removeElements(ep))
	}
	return err
}

// Sync makes the host match the list of all containers: it replaces the firewall's table in one transaction, removes
// links and namespaces of other containers, and repairs those of the listed ones. Call it before the first Attach. It
// returns the IDs of containers that could not be repaired, with the reasons.
func (n *Network) Sync(all []Endpoint) (broken map[string]error, err error) {
	n.mu.Lock()
	n.endpoints = make(map[string]*endpoint, len(all))
	keep := make(map[string]bool, len(all))
	for _, e := range all {
		ep := n.endpoint(e)
		n.endpoints[e.ID], ep.ruled, ep.joined = ep, true, true
		n.holders.add(ep.IP, ep.Tenant)
		keep[e.ID] = true
	}
	n.readResolved()
	err = errors.Join(n.rebuildEgress(), n.rebuild())
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(n.Sweep(keep), n.dropSpare()); err != nil {
		return nil, err
	}
	if err := n.Obstacle(); err != nil {
		n.log.Warn("containers can't reach other networks", "err", err, "hint", cloud.HintOf(err))
	}
	return n.mend(), nil
}

// Sweep removes the links and namespaces of containers that are not in keep.
func (n *Network) Sweep(keep map[string]bool) error {
	links, err := n.links()
	if err != nil {
		return err
	}
	wanted := make(map[string]bool, len(keep))
	for id := range keep {
		wanted[n.link(id)] = true
	}
	n.mu.Lock()
	for _, ep := range n.endpoints { // endpoints that are just being attached, and sandboxes
		wanted[ep.link] = true
	}
	n.mu.Unlock()
	var errs []error
	for _, l := range links {
		if !wanted[l.Attrs().Name] {
			errs = append(errs, delLink(l))
		}
	}
	pins, err := os.ReadDir(n.cfg.State)
	errs = append(errs, err)
	for _, f := range pins {
		if strings.HasPrefix(f.Name(), spareID) {
			continue
		}
		id := strings.TrimSuffix(strings.TrimSuffix(f.Name(), ".net"), ".user")
		if !wanted[n.link(id)] {
			errs = append(errs, unpin(filepath.Join(n.cfg.State, f.Name())))
		}
	}
	return errors.Join(errs...)
}

// Destroy removes everything that this network has made on the host, and restores the host's settings unless another
// node on this machine needs them.
func (n *Network) Destroy() error {
	n.mu.Lock()
	n.endpoints = map[string]*endpoint{}
	n.mu.Unlock()
	return errors.Join(n.Sweep(nil), n.dropSpare(), n.disconnect(), n.removeTable(), n.restoreHost())
}

// link returns the name of a container's veth on the host. IDs are never reused, and so neither are link names: the
// kernel may still be deleting an old link.
func (n *Network) link(id string) string { return n.prefix + nameHash(id)[:8] }

// hash returns the hash of the node's name, which its links and tables have in theirs.
func (n *Network) hash() string { return strings.TrimPrefix(n.table, tablePrefix) }

// hashInLink is how many characters of a node's hash the names of its links begin with, after an m.
const hashInLink = 5

func linkPrefix(hash string) string { return "m" + hash[:hashInLink] }

// nameHash returns a hash of sixteen characters of [a-z2-7], which names of links and tables may contain.
func nameHash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}
