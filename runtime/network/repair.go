package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// interval is how often Run checks the network: at least twice within the time that the firewall's table may be missing.
const interval = 2 * time.Second

// Run repairs the network until ctx ends: it restores the firewall's table, links and pins that another program has
// removed. It also keeps a pair of namespaces ready for the next container. Run calls broken, each time, for a container
// whose network could not be repaired and which must be replaced.
func (n *Network) Run(ctx context.Context, broken func(id string, err error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	soon := time.After(0)
	for {
		select {
		case <-ctx.Done():
			return n.dropSpare()
		case <-n.spare.attached:
			soon = time.After(spareDelay)
			continue
		case <-soon:
			if err := n.prepareSpare(); err != nil {
				n.log.Warn("cannot make namespaces in advance", "err", err)
			}
			continue
		case <-tick.C:
		}
		if err := n.Repair(); err != nil {
			n.log.Error("cannot repair the network", "err", err)
		}
		for id, err := range n.mend() {
			broken(id, err)
		}
	}
}

// Repair restores what all containers share: the firewall's table, the gateway's address, IP forwarding.
func (n *Network) Repair() error {
	n.mu.Lock()
	var err error
	if n.rules != nil && !n.intact() {
		n.log.Warn("another program has changed the firewall's table: restoring it", "table", n.table)
		err = n.rebuild()
	}
	if n.rules != nil && !n.egressIntact() {
		n.log.Warn("another program has changed the table of the way out: restoring it", "table", n.egressTable().Name)
		err = errors.Join(err, n.rebuildEgress())
	}
	if len(n.peers) > 0 {
		err = errors.Join(err, n.setTunnel(), n.setRoutes())
	}
	n.mu.Unlock()
	if _, ok := n.current(); !ok {
		n.log.Warn("another program has removed the gateway's address: restoring it", "address", n.Gateway())
		err = errors.Join(err, n.prepareHost())
	}
	return errors.Join(err, n.enableForwarding())
}

// mend restores missing links, routes and pins. It returns the containers for which that failed.
func (n *Network) mend() map[string]error {
	joined := n.joined() // before listing the links, so that endpoints which join meanwhile don't count as broken
	links, err := n.links()
	if err != nil {
		n.log.Error("cannot inspect the network", "err", err)
		return nil
	}
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		n.log.Error("cannot inspect the network", "err", fmt.Errorf("list routes: %w", err))
		return nil
	}
	routed := make(map[int]bool, len(routes))
	for _, r := range routes {
		routed[r.LinkIndex] = true
	}
	there := make(map[string]bool, len(links))
	for _, l := range links {
		// The kernel deletes the route if the link is set down, or if the gateway's address is removed.
		there[l.Attrs().Name] = routed[l.Attrs().Index]
	}
	n.mu.Lock()
	var todo []endpoint
	for _, ep := range joined {
		if n.endpoints[ep.ID] == ep && ep.joined && (!there[ep.link] || !pinned(ep.NetNS) || !n.subnet.Contains(ep.IP)) {
			todo = append(todo, *ep)
		}
	}
	n.mu.Unlock()
	broken := map[string]error{}
	for _, ep := range todo {
		if err := n.mendOne(&ep); err != nil {
			broken[ep.ID] = err
			continue
		}
		n.log.Warn("another program has changed a container's network: restored it", "instance", ep.ID)
	}
	return broken
}

func (n *Network) joined() []*endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Values(n.endpoints)), func(ep *endpoint) bool { return !ep.joined })
}

func (n *Network) mendOne(ep *endpoint) error {
	if !n.subnet.Contains(ep.IP) {
		return fmt.Errorf("its address %s is not in the node's subnet %s", ep.IP, n.subnet)
	}
	if !pinned(ep.NetNS) {
		if ep.PID == 0 {
			return errors.New("its network namespace no longer exists")
		}
		if err := errors.Join(ep.removeNamespaces(), ep.pin(ep.PID)); err != nil {
			return err
		}
	}
	if err := ep.unlink(); err != nil {
		return err
	}
	return n.connect(ep)
}

// Running records a process in a container's namespaces, from which their pins can be restored.
func (n *Network) Running(id string, pid int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ep := n.endpoints[id]; ep != nil {
		ep.PID = pid
	}
}
