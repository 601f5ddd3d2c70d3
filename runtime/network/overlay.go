package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/protoduction/micro/cloud"
)

// overlay is what a node's network knows of other nodes. It is empty on a node that is the whole cloud.
type overlay struct {
	peers  []Peer
	remote map[netip.Addr]Remote // instances on other nodes
	tunnel *tunnel               // nil while there is no peer by WireGuard
}

// Remote is an instance on another node.
type Remote struct {
	Group   uint32
	Service string // that it runs, "" for none: only containers that are bound to the service may connect to it
}

// Follow keeps this node connected to the other nodes that a view has, until ctx ends. The connections stay then:
// Destroy removes them.
func (n *Network) Follow(ctx context.Context, self cloud.NodeName, views *cloud.Cell) error {
	defer n.closeTunnel()
	var old cloud.View
	var said string
	elsewhere := newElsewhere(self)
	for {
		now, err := views.Changed(ctx, old)
		if err != nil {
			return nil
		}
		if nodes, ok := now.TouchedNodes(old); !ok || len(nodes) > 0 {
			peers, unreachable := Peers(now, self)
			err := errors.Join(append(unreachable, n.Connect(peers))...)
			if text := fmt.Sprint(err); err != nil && text != said {
				n.log.Error("not all nodes can be reached", "err", err, "hint", cloud.HintOf(err))
			}
			said = fmt.Sprint(err)
		}
		if err := n.SetElsewhere(elsewhere.update(now)); err != nil {
			n.log.Error("cannot tell the firewall which instances other nodes have", "err", err)
		}
		old = now
	}
}

// Connect makes the instances of the peers, and of no other nodes, reachable by routes and rules. What fails for one
// peer does not keep the others from being connected.
func (n *Network) Connect(peers []Peer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Equal(peers, n.peers) && len(peers) == 0 {
		return nil
	}
	n.peers = peers
	// The rules come first: routes and tunnel let packets in that only the rules can judge.
	var err error
	if n.rules != nil {
		err = n.rebuild()
	}
	if err != nil {
		return err
	}
	return errors.Join(n.setTunnel(), n.setRoutes())
}

// disconnect removes everything that Connect has made on the host.
func (n *Network) disconnect() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers, n.remote = nil, nil
	return errors.Join(n.setTunnel(), n.setRoutes())
}

// SetElsewhere tells the firewall which instances other nodes have started and ended.
func (n *Network) SetElsewhere(started map[netip.Addr]Remote, ended []netip.Addr) error {
	if len(started) == 0 && len(ended) == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.remote == nil {
		n.remote = map[netip.Addr]Remote{}
	}
	gone := map[netip.Addr]Remote{}
	for _, a := range ended {
		if was, ok := n.remote[a]; ok {
			gone[a] = was
			delete(n.remote, a)
		}
	}
	for a, is := range started {
		if was, ok := n.remote[a]; ok && was != is {
			gone[a] = was // its element's value can't be changed
		}
	}
	maps.Copy(n.remote, started)
	if len(n.peers) == 0 || n.rules == nil {
		return nil // the next rebuild adds them
	}
	return n.updateElsewhere(started, gone)
}

// elsewhere keeps track of the instances on other nodes.
type elsewhere struct {
	self cloud.NodeName
	seen cloud.View
	apps map[cloud.AppRef]map[netip.Addr]Remote
}

func newElsewhere(self cloud.NodeName) *elsewhere {
	return &elsewhere{self: self, apps: map[cloud.AppRef]map[netip.Addr]Remote{}}
}

// update returns what differs from the last view that it was given. An address that one app has given up and another
// has got is in started alone.
func (e *elsewhere) update(now cloud.View) (started map[netip.Addr]Remote, ended []netip.Addr) {
	changed, ok := now.TouchedApps(e.seen)
	e.seen = now
	if !ok {
		changed = map[cloud.AppRef]bool{}
		for app := range e.apps {
			changed[app] = true
		}
		for i := range now.Instances.All() {
			changed[i.AppRef] = true
		}
	}
	started = map[netip.Addr]Remote{}
	for app := range changed {
		next := e.instancesOf(now, app)
		for a, is := range next {
			if was, ok := e.apps[app][a]; !ok || was != is {
				started[a] = is
			}
		}
		for a := range e.apps[app] {
			if _, ok := next[a]; !ok {
				ended = append(ended, a)
			}
		}
		if e.apps[app] = next; len(next) == 0 {
			delete(e.apps, app)
		}
	}
	ended = slices.DeleteFunc(ended, func(a netip.Addr) bool { _, ok := started[a]; return ok })
	return started, ended
}

// instancesOf returns an app's instances on other nodes, by address.
func (e *elsewhere) instancesOf(v cloud.View, app cloud.AppRef) map[netip.Addr]Remote {
	var instances map[netip.Addr]Remote
	group, ok := v.State.Group(app.Group)
	if !ok {
		return nil
	}
	is := Remote{Group: group.Number}
	if a, ok := v.State.App(app); ok && a.Service != nil {
		is.Service = string(app.App)
	}
	for i := range v.Instances.OfApp(app) {
		if i.Node == e.self || i.Phase == cloud.InstanceExited || !i.Addr.Addr().IsValid() {
			continue
		}
		if instances == nil {
			instances = map[netip.Addr]Remote{}
		}
		instances[i.Addr.Addr()] = is
	}
	return instances
}
