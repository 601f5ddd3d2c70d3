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

// interval is how often Run looks; half of what the firewall's table may be missing for.
const interval = 2 * time.Second

// Run looks after what this network has on the host until ctx ends: a table that somebody flushed, a
// link or a pin that somebody deleted is made again. It has a pair of namespaces ready for the next
// container. broken is told, each time, of a container whose network could not be mended: it has to be
// replaced.
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
				n.log.Warn("no namespaces can be made in advance", "err", err)
			}
			continue
		case <-tick.C:
		}
		if err := n.Repair(); err != nil {
			n.log.Error("network can't be repaired", "err", err)
		}
		for id, err := range n.mend() {
			broken(id, err)
		}
	}
}

// Repair sees to what all containers share: the table, the gateway's address, forwarding.
func (n *Network) Repair() error {
	n.mu.Lock()
	var err error
	if n.rules != nil && !n.intact() {
		n.log.Warn("the firewall's table was changed by somebody else: it is made anew", "table", n.table)
		err = n.rebuild()
	}
	n.mu.Unlock()
	if _, ok := n.current(); !ok {
		n.log.Warn("the gateway was taken away by somebody else: it is made anew", "address", n.Gateway())
		err = errors.Join(err, n.prepareHost())
	}
	return errors.Join(err, n.enableForwarding())
}

// mend makes again the links, routes and pins that are missing.
func (n *Network) mend() map[string]error {
	joined := n.joined() // before their links are looked for: one that joins meanwhile is not missing
	links, err := n.links()
	if err != nil {
		n.log.Error("network can't be looked at", "err", err)
		return nil
	}
	routes, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		n.log.Error("network can't be looked at", "err", fmt.Errorf("list routes: %w", err))
		return nil
	}
	routed := make(map[int]bool, len(routes))
	for _, r := range routes {
		routed[r.LinkIndex] = true
	}
	there := make(map[string]bool, len(links))
	for _, l := range links {
		// Where somebody set the link down, or took the gateway's address, the route is gone too.
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
		n.log.Warn("a container's network was changed by somebody else: it is made anew", "instance", ep.ID)
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
			return errors.New("its network namespace is gone")
		}
		if err := errors.Join(ep.removeNamespaces(), ep.pin(ep.PID)); err != nil {
			return err
		}
	}
	if err := ep.unlink(); err != nil {
		return err
	}
	return n.wire(ep)
}

// Running tells which process runs in a container's namespaces, so that these can be found without their pins.
func (n *Network) Running(id string, pid int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ep := n.endpoints[id]; ep != nil {
		ep.PID = pid
	}
}
