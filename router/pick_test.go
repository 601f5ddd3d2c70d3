package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
)

func poolOf(release string, n int) *Pool {
	p := &Pool{Release: ref(release).Release(0)}
	for i := range n {
		p.Endpoints = append(p.Endpoints, newEndpoint(cloud.InstanceID(fmt.Sprintf("%s-%d", release, i)), p.Release, netip.AddrPort{}))
	}
	return p
}

func TestShares(t *testing.T) {
	f := func(targets, want string) {
		t.Helper()
		var list []target
		for i, s := range strings.Fields(targets) {
			var one target
			pools, weight, weighted := strings.Cut(s, "=")
			if one.weighted = weighted; weighted {
				_, _ = fmt.Sscan(weight, &one.weight)
			}
			for j, n := range strings.Split(pools, "+") {
				var ready int
				_, _ = fmt.Sscan(n, &ready)
				one.pools = append(one.pools, poolOf(string(rune('a'+i))+strings.Repeat("'", j), ready))
			}
			list = append(list, one)
		}
		var got []string
		for _, s := range shares(list) {
			got = append(got, fmt.Sprintf("%s:%d", s.pool.Release, s.weight))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: got %s, want %s", targets, got, want)
		}
	}
	// A target is its ready instances, two pools with a +, and its weight.
	f("1", "a:1")
	f("3 3", "a:1 b:1")
	f("3 5", "a:3 b:5")
	f("3 0", "a:1")
	f("0 0", "")
	f("1=95 9=5", "a:19 b:1")
	f("1=1 1=1", "a:1 b:1")
	f("0=95 9=5", "b:1")
	f("1=0 1=5", "b:1")
	f("1=0 0=5", "")
	f("2 2 1=10", "a:9 b:9 c:2")
	f("1 3 1=10", "a:9 b:27 c:4")
	f("1 0=10", "a:1")
	f("0 1=10", "b:1")
	f("1=60 1=60 1", "a:1 b:1")
	f("1+3", "a:1 a':3")
	f("1+3=50 4=50", "a:1 a':3 b:4")
}

func TestEqualPoolsTakeTurns(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		r := &Route{turns: new(turns)}
		for i := range n {
			r.shares = append(r.shares, share{1, poolOf(fmt.Sprint(i), 1)})
		}
		r.plan = plan{uint64(n), stride(uint64(n))}
		counts := map[*Pool]int{}
		for range 400 {
			counts[r.pool()]++
		}
		for p, got := range counts {
			if want := 400 / n; got < want-2 || got > want+2 {
				t.Errorf("%d pools: %s got %d of 400", n, p.Release, got)
			}
		}
	}
}

// TestExplicitWeights: exact in every round and never far off between, wherever one begins to count.
func TestExplicitWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 100), 2, 5).Draw(t, "weights")
		seed := rapid.Uint64().Draw(t, "seed")
		r := &Route{turns: &turns{seed: seed}, explicit: true}
		total := uint64(0)
		for i, w := range weights {
			r.shares = append(r.shares, share{uint64(w), poolOf(fmt.Sprint(i), 1)})
			total += uint64(w)
		}
		r.plan = plan{total, stride(total)}
		skip := rapid.IntRange(0, 1000).Draw(t, "skip")
		for range skip {
			r.pool()
		}
		const n = 10_000
		counts := map[*Pool]int{}
		for range n {
			counts[r.pool()]++
		}
		for i, s := range r.shares {
			want := float64(n) * float64(s.weight) / float64(total)
			if got := float64(counts[s.pool]); got < want-90 || got > want+90 {
				t.Fatalf("share %d of %v: got %v of %d, want %.0f", i, weights, got, n, want)
			}
		}
	})
}

func TestTenPercent(t *testing.T) {
	for seed := range uint64(20) {
		r := &Route{turns: &turns{seed: seed}, explicit: true, shares: []share{{9, poolOf("r1", 1)}, {1, poolOf("r2", 7)}}}
		r.plan = plan{10, stride(10)}
		n, longest, run := 0, 0, 0
		for range 10_000 {
			if run++; r.pool().Release == ref("r2").Release(0) {
				n++
				longest, run = max(longest, run), 0
			}
		}
		if n < 1000-90 || n > 1000+90 || longest > 20 {
			t.Errorf("seed %d: %d of 10000, longest wait %d", seed, n, longest)
		}
	}
}

// TestScheduleIsPermutation: every slot once a round.
func TestScheduleIsPermutation(t *testing.T) {
	for total := uint64(1); total < 300; total++ {
		for round := range uint64(3) {
			seen := make([]bool, total)
			for n := range total {
				slot := schedule(round*total+n, total, stride(total), 7, true)
				if slot >= total || seen[slot] {
					t.Fatalf("total %d: slot %d twice", total, slot)
				}
				seen[slot] = true
			}
		}
	}
}

func TestClaim(t *testing.T) {
	p := poolOf("r1", 4)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 4000 {
		if p.claim(rng.Uint64(), 1, nil) == nil {
			t.Fatal("nobody")
		}
	}
	for _, e := range p.Endpoints {
		if n := e.InFlight(); n < 990 || n > 1010 {
			t.Errorf("%s has %d of 4000", e.ID, n)
		}
	}
	// Who can't be reached comes last, who drains not at all, who was tried not again.
	p = poolOf("r1", 3)
	p.Endpoints[0].failed(1)
	p.Endpoints[1].drain()
	for range 50 {
		if e := p.claim(rng.Uint64(), 2, nil); e != p.Endpoints[2] {
			t.Fatalf("picked %s", e.ID)
		}
		if e := p.claim(rng.Uint64(), 2, p.Endpoints[2:]); e != p.Endpoints[0] {
			t.Fatalf("picked %v", e)
		}
		if e := p.claim(rng.Uint64(), 2, []*Endpoint{p.Endpoints[0], p.Endpoints[2]}); e != nil {
			t.Fatalf("picked %s", e.ID)
		}
	}
	if until := p.Endpoints[0].downUntil.Load(); until != 1+int64(ejectFirst) {
		t.Errorf("left out until %d", until)
	}
	if e := p.claim(0, 1+int64(ejectFirst), p.Endpoints[2:]); e != p.Endpoints[0] {
		t.Error("left out for longer than it should")
	}
}

func TestRoutingPath(t *testing.T) {
	f := func(target, want string) {
		t.Helper()
		if got := string(routingPath([]byte(target), make([]byte, 0, 64))); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
	f("/", "/")
	f("/a", "/a")
	f("/a/", "/a")
	f("/a/b?c/../d", "/a/b")
	f("//a", "/a")
	f("/a//b///", "/a/b")
	f("/./a/.", "/a")
	f("/a/../b", "/b")
	f("/../../a", "/a")
	f("/a/..", "/")
	f("/x/%2e%2e/a", "/a")
	f("/x/%2E./a", "/a")
	f("/%61", "/a")
	f("/a%2fb", "/a%2fb")
	f("/a%00b", "/a%00b")
	f("/a%00/../b", "/b")
	f(`/x\..\a`, "/a")
	f(`\a`, "/a")
	f("/a%", "/a%")
	f("/a%2", "/a%2")
	f("/a%zz", "/a%zz")
	f("/..a", "/..a")
	f("/a/.b", "/a/.b")
	f("*", "/*")
	f("?x", "/")
}

func FuzzRoutingPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "//%2e/x", `\..\a`, "/%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "?") {
			return
		}
		got := string(routingPath([]byte(s), nil))
		if got == "" || got[0] != '/' || strings.Contains(got, "//") || got != "/" && strings.HasSuffix(got, "/") {
			t.Fatalf("%q: %q", s, got)
		}
		for seg := range strings.SplitSeq(got[1:], "/") {
			if seg == "." || seg == ".." {
				t.Fatalf("%q: %q", s, got)
			}
		}
		if again := string(routingPath([]byte(got), nil)); again != got && !strings.Contains(got, "%") {
			t.Fatalf("%q: %q, then %q", s, got, again)
		}
	})
}
