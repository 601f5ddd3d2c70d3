package node

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/network"
)

// policies are what the State allows containers to reach outside, as the network knows apps and groups.
func policies(s *cloud.State) map[string]network.Policy {
	out := map[string]network.Policy{}
	for e := range s.Egresses() {
		out[string(e.Group)+"/"+string(e.App)] = network.Policy{Networks: e.Networks(), Names: e.Names()}
	}
	return out
}

// closeWaysOut applies the policies of a State, where they differ from those that were applied last.
func (n *Node) closeWaysOut(s *cloud.State) {
	want := policies(s)
	if maps.EqualFunc(want, n.waysOut, func(a, b network.Policy) bool {
		return slices.Equal(a.Networks, b.Networks) && slices.Equal(a.Names, b.Names)
	}) {
		return
	}
	if err := n.net.SetEgress(want); err != nil {
		n.log.Error("cannot change what containers may reach outside", "err", err)
		return
	}
	n.waysOut = want
}

// wayOut tells the DNS server what containers may look up, and the firewall what they were told.
type wayOut struct {
	net *network.Network
	log *slog.Logger
}

func (w wayOut) Closed(client netip.Addr) bool {
	_, closed := w.net.Egress(client)
	return closed
}

func (w wayOut) MayLookUp(client netip.Addr, name string) bool {
	p, closed := w.net.Egress(client)
	return !closed || p.Allows(name)
}

func (w wayOut) Resolved(client netip.Addr, name string, addrs []netip.Addr, life time.Duration) {
	if err := w.net.Resolved(client, name, addrs, life); err != nil {
		w.log.Error("cannot let a container reach what it looked up", "client", client, "err", err)
	}
}
