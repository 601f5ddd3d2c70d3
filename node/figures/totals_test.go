package figures

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// routers are the nodes of a cloud, which hand over their counts as JSON.
type routers struct {
	nodes map[cloud.NodeName]*oneRouter
	cut   map[[2]cloud.NodeName]bool // pairs of nodes that can't reach each other
	now   time.Time
	mu    sync.Mutex // guards what oneRouters have heard
}

type oneRouter struct {
	*Totals
	up      bool
	counted uint64                // by the present process
	heard   map[*oneRouter]uint64 // what others had counted when they answered last
}

type peersOf struct {
	*routers
	name cloud.NodeName
}

func (p peersOf) Living() (names []cloud.NodeName) {
	for name, n := range p.nodes {
		if name != p.name && n.up {
			names = append(names, name)
		}
	}
	return names
}

func (p peersOf) Ask(_ context.Context, node cloud.NodeName, after Cursor) (h Handover, err error) {
	n := p.nodes[node]
	if !n.up || p.cut[pairOf(p.name, node)] {
		return h, errors.New("no answer")
	}
	text, err := json.Marshal(n.Offer(after))
	if err != nil {
		return h, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes[p.name].heard[n] = n.counted
	return h, json.Unmarshal(text, &h)
}

func pairOf(a, b cloud.NodeName) [2]cloud.NodeName { return [2]cloud.NodeName{min(a, b), max(a, b)} }

func (r *routers) start(name cloud.NodeName) {
	r.nodes[name] = &oneRouter{up: true, heard: map[*oneRouter]uint64{}, Totals: NewTotals(TotalsConfig{
		Node: name, Counted: router.NewFigures(0), Started: r.now, Peers: peersOf{r, name}, Now: func() time.Time { return r.now },
	})}
}

var place = router.Place{Host: "www.example.com", Path: "/"}

// request has a node's router count n requests.
func (r *routers) request(name cloud.NodeName, n int) {
	x := router.Exchange{
		Release: release("shop"), RouteHost: place.Host, RoutePath: place.Path, Method: []byte("GET"), Status: 200,
		First: time.Millisecond, Duration: time.Millisecond,
	}
	for range n {
		r.nodes[name].Counted.Waits(&x)
		r.nodes[name].Counted.Waited(&x)
		r.nodes[name].Counted.Record(&x)
	}
	r.nodes[name].counted += uint64(n)
}

// sums returns the requests that a node knows of, and those of late.
func (r *routers) sums(name cloud.NodeName) (all, lately router.SeriesCounts) {
	return r.nodes[name].At(place)[release("shop")], r.nodes[name].Recent(place)[release("shop")]
}

// TestTotals has routers count, start, die, end in order and lose sight of each other, in any order. Whatever happened,
// each node knows all that was handed over as soon as it has asked the others, and never more than was counted; and what it
// learns of earlier times does not look like requests of late.
func TestTotals(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 11))
		r := &routers{nodes: map[cloud.NodeName]*oneRouter{}, cut: map[[2]cloud.NodeName]bool{}, now: time.Unix(0, 0)}
		names := []cloud.NodeName{"n1", "n2", "n3", "n4"}
		for _, name := range names {
			r.start(name)
		}
		var ended []*oneRouter
		before := map[*oneRouter]uint64{}
		log := ""
		for range 60 {
			r.now = r.now.Add(time.Duration(rng.IntN(2000)) * time.Millisecond)
			name := names[rng.IntN(len(names))]
			n := r.nodes[name]
			switch what := rng.IntN(10); {
			case what < 4 && n.up:
				r.request(name, 1+rng.IntN(5))
				log += fmt.Sprintf("%s counts to %d\n", name, n.counted)
			case what < 7 && n.up:
				n.Refresh(t.Context())
				log += fmt.Sprintf("%s asks\n", name)
			case what == 7 && n.up && len(peersOf{r, name}.Living()) > 1:
				n.up = false
				ended = append(ended, n)
				log += fmt.Sprintf("%s is killed at %d\n", name, n.counted)
			case what == 8 && !n.up:
				r.start(name)
				log += fmt.Sprintf("%s starts\n", name)
			case what == 9:
				pair := pairOf(name, names[rng.IntN(len(names))])
				r.cut[pair] = !r.cut[pair]
				log += fmt.Sprintf("%v cut: %v\n", pair, r.cut[pair])
			}
			for name, n := range r.nodes {
				_, lately := r.sums(name)
				if lately.Total.Requests < before[n] || lately.Judged.Requests != lately.Total.Requests || lately.Judged.Ended > lately.Judged.Started {
					t.Fatalf("seed %d: the requests of late went from %d to %d:\n%s", seed, before[n], lately.Total.Requests, log)
				}
				before[n] = lately.Total.Requests
			}
		}
		clear(r.cut)
		for range 3 { // who was killed while others did not see each other is known by hearsay
			for _, name := range names {
				if r.nodes[name].up {
					r.nodes[name].Refresh(t.Context())
				}
			}
		}
		var living, handedOver, lost uint64
		for _, n := range r.nodes {
			if n.up {
				living += n.counted
			}
		}
		var agreed uint64
		for _, was := range ended {
			var known uint64
			for _, n := range r.nodes {
				if n.up {
					known = max(known, n.heard[was])
				}
			}
			handedOver, lost = handedOver+known, lost+was.counted-known
		}
		for _, name := range names {
			if !r.nodes[name].up {
				continue
			}
			all, _ := r.sums(name)
			// More is known by hearsay: of somebody who has ended too.
			n := all.Total.Requests
			if n < living+handedOver || n > living+handedOver+lost || lost == 0 && n != living+handedOver {
				t.Fatalf("seed %d: %s knows of %d requests: living routers counted %d, others handed over %d and took %d with them:\n%s", seed, name, n, living, handedOver, lost, log)
			}
			if all.Total.Latency.Count != n || all.Total.Classes[2] != n {
				t.Fatalf("seed %d: %d requests have %d latencies and %d answers with 2xx", seed, n, all.Total.Latency.Count, all.Total.Classes[2])
			}
			if agreed == 0 {
				agreed = n
			}
			if n != agreed {
				t.Fatalf("seed %d: %s knows of %d requests, another node of %d:\n%s", seed, name, n, agreed, log)
			}
		}
	}
}

// TestHandOver has a router that ends in order: nothing of it is missing. Of one that is killed it is said from when on.
func TestHandOver(t *testing.T) {
	r := &routers{nodes: map[cloud.NodeName]*oneRouter{}, cut: map[[2]cloud.NodeName]bool{}, now: time.Unix(0, 0)}
	for _, name := range []cloud.NodeName{"n1", "n2", "n3"} {
		r.start(name)
	}
	n1, n2, n3 := r.nodes["n1"], r.nodes["n2"], r.nodes["n3"]
	n1.Refresh(t.Context())
	r.request("n2", 10)
	r.request("n3", 100)
	asked := r.now
	n1.Refresh(t.Context())
	if m := n1.Missing(asked); len(m) != 0 {
		t.Errorf("missing: %v", m)
	}
	r.now = r.now.Add(time.Second)
	r.request("n2", 1)
	r.request("n3", 1)
	n2.Close()
	if err := n1.Hear(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	n2.up, n3.up = false, false
	r.now = r.now.Add(time.Second)
	n1.Refresh(t.Context())
	m := n1.Missing(r.now)
	if len(m) != 1 || m[0].Node != "n3" || !m[0].After.Equal(asked) {
		t.Errorf("missing: %v", m)
	}
	if all, _ := r.sums("n1"); all.Total.Requests != 111 {
		t.Errorf("%d requests", all.Total.Requests)
	}
	// One that starts again learns from another what its earlier process had counted, and that this was long ago.
	r.start("n2")
	r.nodes["n2"].Refresh(t.Context())
	if all, lately := r.sums("n2"); all.Total.Requests != 111 || lately.Total.Requests != 0 {
		t.Errorf("%d requests, %d of late", all.Total.Requests, lately.Total.Requests)
	}
	r.request("n1", 5)
	r.nodes["n2"].Refresh(t.Context())
	if all, lately := r.sums("n2"); all.Total.Requests != 116 || lately.Total.Requests != 5 || lately.Judged.Requests != 5 {
		t.Errorf("%d requests, %d of late", all.Total.Requests, lately.Total.Requests)
	}
	for range 3 {
		r.now = r.now.Add(keepBooks)
		n1.Refresh(t.Context())
		n1.forget(func(router.SeriesName) bool { return true })
	}
	if all, _ := r.sums("n1"); all.Total.Requests != 5 || len(n1.Missing(r.now)) != 0 {
		t.Errorf("after a day: %d requests, missing: %v", all.Total.Requests, n1.Missing(r.now))
	}
}
