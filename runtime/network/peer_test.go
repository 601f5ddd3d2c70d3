package network

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// workersView has two workers, a and b, and nodes that both reach; those named in dead have lost their leases.
func workersView(nodes int, dead ...cloud.NodeName) cloud.View {
	key := encodeKey(make([]byte, 32))
	s, o := cloud.NewState(), cloud.NewInstances()
	add := func(k int, name cloud.NodeName, worker bool) {
		n := &cloud.Node{Name: name, Worker: worker, Subnet: netip.MustParsePrefix(fmt.Sprintf("10.88.%d.0/24", k)), Overlay: cloud.Overlay{Mode: cloud.OverlayWireGuard, Key: key, Port: 51820}}
		n.Addr = netip.MustParseAddrPort(fmt.Sprintf("10.77.0.%d:6427", k))
		if worker {
			n.Addr, n.Overlay.Port = netip.AddrPortFrom(n.Gateway(), 6427), 0
		}
		s = s.Apply(s.Rev()+1, []cloud.Change{cloud.Put(n)})
		o = o.WithNode(&cloud.NodeStatus{Name: name, Alive: !slices.Contains(dead, name)})
	}
	add(101, "a", true)
	add(102, "b", true)
	for k := range nodes {
		add(k+1, cloud.NodeName(fmt.Sprint("n", k+1)), false)
	}
	return cloud.View{State: s, Instances: o}
}

func peerOf(t *testing.T, v cloud.View, self, name cloud.NodeName) Peer {
	t.Helper()
	peers, _ := Peers(v, self)
	k := slices.IndexFunc(peers, func(p Peer) bool { return p.Node == name })
	if k < 0 {
		t.Fatalf("%s has no peer %s", self, name)
	}
	return peers[k]
}

// TestRelay has two workers choose the node that passes packets on between them: the same one, and another when it dies.
func TestRelay(t *testing.T) {
	v := workersView(4)
	relay := peerOf(t, v, "a", "b").Relay
	if other := peerOf(t, v, "b", "a").Relay; relay == "" || other != relay {
		t.Fatalf("a chooses %q, b chooses %q", relay, other)
	}
	for k := range 4 {
		dead := cloud.NodeName(fmt.Sprint("n", k+1))
		now := workersView(4, dead)
		a, b := peerOf(t, now, "a", "b").Relay, peerOf(t, now, "b", "a").Relay
		if a != b || a == dead || dead != relay && a != relay {
			t.Errorf("%s is dead: a chooses %q, b %q, and it was %q", dead, a, b, relay)
		}
	}
	peers, unreachable := Peers(workersView(0), "a")
	if len(peers) != 0 || len(unreachable) != 1 {
		t.Errorf("without another node: %v, %v", peers, unreachable)
	}
}

// TestWorkersInWireGuard checks who begins sessions, and which slices a relay has.
func TestWorkersInWireGuard(t *testing.T) {
	v := workersView(1)
	peers, _ := Peers(v, "a")
	list := wireGuardedPeers(peers)
	if len(list) != 1 || list[0].allowed != "10.88.1.0/24 10.88.102.0/24" || list[0].endpoint.String() != "10.77.0.1:51820" {
		t.Errorf("a worker has the peers %+v", list)
	}
	if !peerOf(t, v, "a", "n1").Begins || peerOf(t, v, "n1", "a").Begins || peerOf(t, v, "a", "b").Begins {
		t.Error("a worker begins the sessions with nodes that are none, and nobody else")
	}
	peers, _ = Peers(v, "n1")
	for _, w := range wireGuardedPeers(peers) {
		if w.endpoint.IsValid() {
			t.Errorf("a worker would be sent to at %s before it has begun", w.endpoint)
		}
	}
	if got := relayed(peers); len(got) != 2 {
		t.Errorf("packets are passed on between %v", got)
	}
	peers, _ = Peers(v, "a")
	if got := relayed(peers); len(got) != 0 {
		t.Errorf("a worker passes packets on between %v", got)
	}
}
