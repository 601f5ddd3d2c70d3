package network

import (
	"context"
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
	Name   string       // tells this node's links, table and pins from another node's on the same machine
	Subnet netip.Prefix // IPv4, /8 to /29; the zero Prefix lets Open choose a free /20
	State  string       // folder for pinned namespaces, best in memory
	// Leaving is for who only takes away what an earlier Open left: nothing of the host is in its way.
	Leaving bool
	Logger  *slog.Logger
}

// Endpoint is a container's place in the network.
type Endpoint struct {
	ID     string
	Tenant uint32 // at most MaxTenant
	IP     netip.Addr
	PID    int // a process in the namespaces, if one runs; their pins can be made again from it

	UserNS, NetNS string // files that the namespaces are pinned to
}

// Network is the node's side of its containers' network. Its methods may be called at the same time.
type Network struct {
	cfg    Config
	log    *slog.Logger
	prefix string // of every link's name, six letters
	table  string // nftables table's name
	subnet netip.Prefix
	mtu    int

	holders   holders
	mu        sync.Mutex // guards endpoints and the table's elements, which mirror them
	endpoints map[string]*endpoint
	rules     map[string]int // of the table's chains, as rebuild left them; nil before
	cursor    netip.Addr     // the address given out last

	spare spare
}

// Open validates the configuration and prepares the host: the gateway's address, forwarding, the route
// that makes addresses without a container unreachable at once. The firewall is left as it was found until Sync.
func Open(cfg Config) (*Network, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	if cfg.Name == "" {
		errs = append(errs, errors.New("it has no name"))
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
		prefix: "m" + hash[:5], table: "micro_" + hash,
		endpoints: map[string]*endpoint{},
		spare:     spare{attached: make(chan struct{}, 1)},
	}
	var err error
	if n.subnet, err = n.choose(cfg.Subnet); err != nil {
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

// Subnet is the network that containers' addresses are from.
func (n *Network) Subnet() netip.Prefix { return n.subnet }

// Gateway is the node's own address in the subnet. Containers reach nothing else of the node, and there
// ports 53 and 80 only.
func (n *Network) Gateway() netip.Addr { return gateway(n.subnet) }

// Reserve gives a container its address and says where its namespaces will be, without making anything
// yet. Detach gives the address back.
func (n *Network) Reserve(id string, tenant uint32) (Endpoint, error) {
	if tenant > MaxTenant {
		return Endpoint{}, cloud.Errorf(cloud.Invalid, "group number %d: there are user IDs for %d groups", tenant, MaxTenant+1)
	}
	ep, err := n.reserve(id, tenant)
	if err != nil {
		return Endpoint{}, err
	}
	return ep.Endpoint, nil
}

// Attach makes what was reserved: the namespaces, and the link that joins them to the network. After an
// error nothing is left, not even the reservation.
func (n *Network) Attach(ctx context.Context, id string) error {
	n.mu.Lock()
	ep := n.endpoints[id]
	n.mu.Unlock()
	if ep == nil {
		return fmt.Errorf("network of %s: nothing is reserved", id)
	}
	err := ctx.Err()
	if err == nil && !n.spare.take(ep) {
		// Where somebody has taken a pin of the spare away, the other one may be pinned already.
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

// reserve gives a container its address, the next that is free after the one given out last: one that
// a connection may still be open to comes up again as late as can be.
func (n *Network) reserve(id string, group uint32) (*endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.endpoints[id]; ok {
		return nil, fmt.Errorf("network of %s: it has one already", id)
	}
	used := make(map[netip.Addr]bool, len(n.endpoints))
	for _, ep := range n.endpoints {
		used[ep.IP] = true
	}
	ip, ok := nextFree(n.subnet, n.cursor, used)
	if !ok {
		return nil, cloud.Errorf(cloud.Unavailable, "all %d addresses of %s are taken", len(used), n.subnet).
			WithHint("stop something, or micro up --subnet with a larger network")
	}
	n.cursor = ip
	ep := n.endpoint(Endpoint{ID: id, Tenant: group, IP: ip})
	n.endpoints[id] = ep
	n.holders.add(ep.IP, group)
	return ep, nil
}

// endpoint adds to an Endpoint what follows from its ID.
func (n *Network) endpoint(e Endpoint) *endpoint {
	e.UserNS, e.NetNS = filepath.Join(n.cfg.State, e.ID+".user"), filepath.Join(n.cfg.State, e.ID+".net")
	return &endpoint{Endpoint: e, link: n.link(e.ID)}
}

// Detach takes away what Attach made. An ID that has nothing is no error.
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
	ep.joined = false // or mend would make it again
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

// Sync is told all containers there are. It takes away what belongs to no other, mends what it finds
// broken and puts the firewall's table in force, in one step. It is called before the first Attach, and
// returns the IDs of those that could not be mended.
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
	err = n.rebuild()
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(n.Sweep(keep), n.dropSpare()); err != nil {
		return nil, err
	}
	if err := n.Obstacle(); err != nil {
		n.log.Warn("containers are cut off", "err", err, "hint", cloud.HintOf(err))
	}
	return n.mend(), nil
}

// Sweep takes away links and namespaces of containers that keep does not name.
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
	for _, ep := range n.endpoints { // also one that is being attached just now, or a sandbox
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

// Destroy takes away all that this network has on the host. What it changed of the host's settings
// goes back to what it was, when no other node of this machine needs it.
func (n *Network) Destroy() error {
	n.mu.Lock()
	n.endpoints = map[string]*endpoint{}
	n.mu.Unlock()
	return errors.Join(n.Sweep(nil), n.dropSpare(), n.removeTable(), n.restoreHost())
}

// link is the name of a container's veth on the host. IDs are never used twice, so neither are links:
// the kernel may still be busy taking one down.
func (n *Network) link(id string) string { return n.prefix + nameHash(id)[:8] }

// nameHash is sixteen of [a-z2-7], which links and tables may be called.
func nameHash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}
