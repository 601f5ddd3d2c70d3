package cloud

import (
	"strings"
	"testing"
)

func TestMapAndUnmap(t *testing.T) {

	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.pushed(blog, PushSpec{})
	y.pushed(AppRef{"qa", "shop"}, PushSpec{})
	to := func(r ReleaseRef, weight ...int) ([]Change, error) {
		m := Map{Host: www, Path: "/", Target: Target{ReleaseRef: r}}
		if len(weight) > 0 {
			m.Target.Weighted, m.Target.Weight = true, weight[0]
		}
		return y.s.Map(m, ann)
	}
	changes, err := to(shop.Release(1), 0)
	y.refuses(changes, err, Conflict, "nothing would answer")
	y.do(to(shop.Release(0)))
	y.route(www, "/", "shop")
	y.do(to(shop.Release(2)))
	y.route(www, "/", "shop, shop@r2")
	y.do(to(shop.Release(2)))
	y.route(www, "/", "shop, shop@r2")
	y.do(to(shop.Release(2), 10))
	y.route(www, "/", "shop, shop@r2 10")
	changes, err = to(blog.Release(0), 95)
	y.refuses(changes, err, Conflict, "the other targets already have 10%")
	y.do(to(blog.Release(0), 90))
	// Where all have weights they are relative: N percent for one leaves the ratio of the others.
	y.do(y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(1): 3, shop.Release(2): 1}))
	y.do(to(blog.Release(0), 20))
	y.route(www, "/", "shop@r1 3, shop@r2 1, blog 1")
	y.do(to(blog.Release(0), 0))
	y.route(www, "/", "shop@r1 3, shop@r2 1, blog 0")
	y.do(to(blog.Release(0), 100))
	y.route(www, "/", "shop@r1 0, shop@r2 0, blog 1")
	changes, err = to(shop.Release(0))
	y.refuses(changes, err, Conflict, "shop needs one too")
	changes, err = to(shop.Release(0), 101)
	y.refuses(changes, err, Invalid, "weight 101")
	changes, err = to(AppRef{"qa", "shop"}.Release(0))
	y.refuses(changes, err, Conflict, "another group")
	changes, err = to(shop.Release(9))
	y.refuses(changes, err, NotFound, "no release r9")

	changes, err = y.s.Unmap(www, "/", blog.Release(0), false)
	y.refuses(changes, err, Conflict, "last target")
	y.do(y.s.Unmap(www, "/", shop.Release(1), false))
	changes, err = y.s.Unmap(www, "/", shop.Release(1), false)
	y.refuses(changes, err, NotFound, "does not route to shop@r1, but to ")
	changes, err = y.s.Unmap("no.example.com", "/", shop.Release(1), false)
	y.refuses(changes, err, NotFound, "no host")
	y.do(y.s.Unmap(www, "/", shop.Release(2), false))
	y.do(y.s.Unmap(www, "/", blog.Release(0), true))
	y.route(www, "/", "nowhere")
	y.do(y.s.ReleaseHost(www, false))
	y.route(www, "/", "unknown")
	changes, err = y.s.ReleaseHost(www, false)
	y.refuses(changes, err, NotFound, "no host")
}

func TestMapRefusesWhatCannotServe(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Stop(shop.Release(2), false))
	y.push(shop, PushSpec{}, true)
	y.do(y.s.Fail(shop.Release(3), Failure{Reason: "exited"}), nil)
	for n, part := range map[int]string{2: "is stopped", 3: "failed: exited", 4: "no release r4"} {
		code := Conflict
		if n == 4 {
			code = NotFound
		}
		changes, err := y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(n)}}, ann)
		y.refuses(changes, err, code, part)
	}
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	changes, err := y.s.Traffic("www.example.com", "/", map[ReleaseRef]int{shop.Release(2): 1})
	y.refuses(changes, err, Conflict, "is stopped")
}

// A route by number keeps a release running, and its end ends that.
func TestRouteKeepsAReleaseRunning(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: "old.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(1)}, Public: true}, ann))
	y.pushed(shop, PushSpec{})
	y.do(y.s.Cool(shop, Stamp{At: noon.AddDate(1, 0, 0)}), nil)
	y.phases(shop, "r1 routed, r2 current")
	if vhost, _ := y.s.VirtualHost("old.example.com"); vhost.Exposure != ExposedPublic {
		t.Errorf("exposure is %s", vhost.Exposure)
	}
	y.do(y.s.Unmap("old.example.com", "/", shop.Release(1), true))
	y.phases(shop, "r1 retired, r2 current")
}

func TestTraffic(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.pushed(AppRef{"qa", "shop"}, PushSpec{})
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.s.Traffic("www.example.com", "/", map[ReleaseRef]int{shop.Release(0): 95, shop.Release(2): 5}))
	y.route("www.example.com", "/", "shop 95, shop@r2 5")
	for _, c := range []struct {
		code    Code
		part    string
		weights map[ReleaseRef]int
	}{
		{Invalid, "are 0", map[ReleaseRef]int{shop.Release(0): 0}},
		{Invalid, "weight -1", map[ReleaseRef]int{shop.Release(0): -1}},
		{Invalid, "weight 1000001", map[ReleaseRef]int{shop.Release(0): 1_000_001}},
		{Conflict, "of the group", map[ReleaseRef]int{AppRef{"qa", "shop"}.Release(0): 1}},
		{NotFound, `no app "blog"`, map[ReleaseRef]int{blog.Release(0): 1}},
		{NotFound, "no release r999", map[ReleaseRef]int{shop.Release(999): 1}},
	} {
		changes, err := y.s.Traffic("www.example.com", "/", c.weights)
		y.refuses(changes, err, c.code, c.part)
	}
	changes, err := y.s.Traffic("www.example.com", "/x", map[ReleaseRef]int{shop.Release(0): 1})
	y.refuses(changes, err, NotFound, "no route /x")
}

func TestSwap(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(blog, PushSpec{})
	y.pushed(AppRef{"qa", "shop"}, PushSpec{})
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}, Public: true}, ann))
	y.do(y.s.Map(Map{Host: "next.example.com", Path: "/", Target: Target{ReleaseRef: blog.Release(0)}}, ann))
	y.do(y.s.Map(Map{Host: "qa.example.com", Path: "/", Target: Target{ReleaseRef: AppRef{"qa", "shop"}.Release(0)}}, ann))
	before := dump(y.s)
	y.do(y.s.Swap("www.example.com", "next.example.com", false))
	y.route("www.example.com", "/", "blog")
	y.route("next.example.com", "/", "shop")
	if vhost, _ := y.s.VirtualHost("next.example.com"); vhost.Exposure != ExposedInternal {
		t.Error("the exposure went along")
	}
	y.do(y.s.Swap("www.example.com", "next.example.com", false))
	if dump(y.s) != before {
		t.Error("swapped twice is not as before")
	}
	changes, err := y.s.Swap("www.example.com", "www.example.com", false)
	y.refuses(changes, err, Invalid, "can't be swapped")
	changes, err = y.s.Swap("www.example.com", "qa.example.com", false)
	y.refuses(changes, err, Invalid, "can't be swapped")
	changes, err = y.s.Swap("www.example.com", "no.example.com", false)
	y.refuses(changes, err, NotFound, "no host")
}

func TestPathsSortLongestFirst(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	for _, p := range []string{"/", "/a", "/b", "/a/b", "/longest"} {
		y.do(y.s.Map(Map{Host: "www.example.com", Path: p, Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	}
	vhost, _ := y.s.VirtualHost("www.example.com")
	var got []string
	for _, r := range vhost.Routes {
		got = append(got, r.Path)
	}
	if strings.Join(got, " ") != "/longest /a/b /a /b /" {
		t.Errorf("paths are %v", got)
	}
}

func TestParsePath(t *testing.T) {
	for in, want := range map[string]string{"": "/", "/": "/", "a": "/a", "/a/b/": "/a/b", "///a": "/a"} {
		if got, err := ParsePath(in); got != want || err != nil {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"/a//b", "/../x", "/a/.", "/a b", "/a?b", "/a#b", "/%2e", `/a\b`, "/a\x00"} {
		if got, err := ParsePath(in); err == nil {
			t.Errorf("%q is accepted as %q", in, got)
		}
	}
}

// A host that answers is not given up by the way.
func TestReleaseHostAsks(t *testing.T) {
	y := fading(t)
	changes, err := y.s.ReleaseHost(www, false)
	y.refuses(changes, err, Conflict, "www.example.com still routes to shop")
	y.do(y.s.ReleaseHost(www, true))
	y.route(www, "/", "unknown")
}

// However often a share is set, weights stay numbers that can be read, and in their ratio.
func TestWeightsStaySmall(t *testing.T) {
	r := Route{Targets: []Target{{shop.Release(1), true, 1}, {shop.Release(2), true, 1}, {shop.Release(3), true, 1}}}
	for i := range 60 {
		var err error
		percent := []int{37, 11, 53, 29}[i%4]
		if r.Targets, err = r.join(Target{shop.Release(1 + i%3), true, percent}); err != nil {
			t.Fatal(err)
		}
		sum, last := 0, r.Targets[len(r.Targets)-1]
		for _, o := range r.Targets {
			if o.Weight < 1 || o.Weight > maxWeight {
				t.Fatalf("after %d changes %v", i, r.Targets)
			}
			sum += o.Weight
		}
		if got := 100 * float64(last.Weight) / float64(sum); got < float64(percent)-.01 || got > float64(percent)+.01 {
			t.Fatalf("%d%% came out as %g%%: %v", percent, got, r.Targets)
		}
	}
}
