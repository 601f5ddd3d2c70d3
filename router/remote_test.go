package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// upOn adds a ready instance of release 1 of an app on a node.
func (w *world) upOn(node cloud.NodeName, app string, addr string) cloud.InstanceID {
	id := w.up(app, 1, addr)
	i, _ := w.view.Instances.Get(id)
	next := *i
	next.Node = node
	w.view.Instances = w.view.Instances.With(&next)
	return id
}

// TestOwnNodeFirst: this node's instances get the requests until they are much busier than others.
func TestOwnNodeFirst(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 1)
	near := map[cloud.InstanceID]bool{}
	for k := range 4 {
		near[w.upOn("here", "shop", fmt.Sprintf("10.88.0.%d:80", 2+k))] = true
		w.upOn("there", "shop", fmt.Sprintf("10.88.4.%d:80", 2+k))
		w.upOn("elsewhere", "shop", fmt.Sprintf("10.88.8.%d:80", 2+k))
	}
	c := &Compiler{Node: "here"}
	table := c.Compile(nil, w.view)
	pool, _ := table.pools.lookup("shop@r1")
	random := rand.New(rand.NewPCG(1, 2)).Uint64
	claim := func() *Endpoint { return pool.claim(random(), 1, nil) }
	for k := range 1000 {
		e := claim()
		if !near[e.ID] {
			t.Fatalf("request %d went to another node", k)
		}
		e.release()
	}
	// Requests that do not end: this node's four get spill more each, and then all the same.
	for range 12*20 + 4*spill {
		claim()
	}
	for _, e := range pool.Endpoints {
		want := int64(20)
		if near[e.ID] {
			want += spill
		}
		if got := e.InFlight(); got < want-6 || got > want+6 {
			t.Errorf("%s has %d requests in flight, not about %d", e.ID, got, want)
		}
	}
}

// TestLostNode: instances of a node that can't be reached get requests only where there is nobody else, whatever else
// changes meanwhile, and again at once when it is back.
func TestLostNode(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 1)
	there := w.upOn("there", "shop", "10.88.4.2:80")
	elsewhere := w.upOn("elsewhere", "shop", "10.88.8.2:80")
	c := &Compiler{Node: "here"}
	table := c.Compile(nil, w.view)
	random := rand.New(rand.NewPCG(1, 2)).Uint64
	count := func() map[cloud.InstanceID]int {
		pool, _ := table.pools.lookup("shop@r1")
		got := map[cloud.InstanceID]int{}
		for range 100 {
			e := pool.claim(random(), 1, nil)
			got[e.ID]++
			e.release()
		}
		return got
	}
	if got := count(); got[there] < 20 || got[elsewhere] < 20 {
		t.Errorf("at first: %v", got)
	}
	c.SetReachable("there", false)
	if got := count(); got[elsewhere] != 100 {
		t.Errorf("without one node: %v", got)
	}
	// Also those that the node had started just before.
	later := w.upOn("there", "shop", "10.88.4.3:80")
	table = c.Compile(table, w.view)
	if got := count(); got[elsewhere] != 100 {
		t.Errorf("with another instance on it: %v", got)
	}
	c.SetReachable("elsewhere", false)
	if got := count(); got[there]+got[later]+got[elsewhere] != 100 {
		t.Errorf("without any: %v", got)
	}
	c.SetReachable("there", true)
	if got := count(); got[there] < 20 || got[later] < 20 || got[elsewhere] != 0 {
		t.Errorf("when it is back: %v", got)
	}
	own := w.upOn("here", "shop", "10.88.0.2:80")
	table = c.Compile(table, w.view)
	if got := count(); got[own] != 100 {
		t.Errorf("with one here: %v", got)
	}
}

// TestAClientIsLedTheSameWayByAllNodes: whom a sticky route keeps a client with does not depend on the node.
func TestAClientIsLedTheSameWayByAllNodes(t *testing.T) {
	w := newWorld()
	w.app("shop", 1, 1)
	for k, node := range []cloud.NodeName{"a", "a", "b", "c", "c"} {
		w.upOn(node, "shop", netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 88, 0, byte(2 + k)}), 80).String())
	}
	led := map[uint64]cloud.InstanceID{}
	for _, node := range []cloud.NodeName{"a", "b", "c", "d"} {
		table := (&Compiler{Node: node, Seed: 7}).Compile(nil, w.view)
		pool, _ := table.pools.lookup("shop@r1")
		for client := range uint64(200) {
			e := pool.claimHeld(mix(client), 1, nil)
			if was, ok := led[client]; ok && was != e.ID {
				t.Fatalf("node %s leads client %d to %s, and another one to %s", node, client, e.ID, was)
			}
			led[client] = e.ID
			e.release()
		}
	}
}
