package cloud

import "testing"

func TestMirror(t *testing.T) {
	const www = Host("www.example.com")
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(shop, PushSpec{})
	y.pushed(AppRef{"qa", "shop"}, PushSpec{})
	changes, err := y.s.SetMirror(www, "/", shop.Release(2), 10)
	y.refuses(changes, err, NotFound, "no host")
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
	changes, err = y.s.SetMirror(www, "/api", shop.Release(2), 10)
	y.refuses(changes, err, NotFound, "no route /api")
	changes, err = y.s.SetMirror(www, "/", shop.Release(1), 101)
	y.refuses(changes, err, Invalid, "101")
	changes, err = y.s.SetMirror(www, "/", shop.Release(9), 10)
	y.refuses(changes, err, NotFound, "no release r9")
	changes, err = y.s.SetMirror(www, "/", AppRef{"qa", "shop"}.Release(1), 10)
	y.refuses(changes, err, Conflict, "not of the group")

	// A mirror keeps its release running, and its address leads to the route.
	y.do(y.s.SetMirror(www, "/", shop.Release(1), 10))
	vhost, _ := y.s.VirtualHost(www)
	if r, _ := vhost.Route("/"); r.Mirror == nil || *r.Mirror != (Mirror{shop.Release(1), 10}) {
		t.Errorf("mirror: %v", r.Mirror)
	}
	if old := y.release(shop, 1); !y.s.Runs(old) {
		t.Errorf("r1 is %s", y.s.PhaseOf(old))
	}
	if changes, err := y.s.SetMirror(www, "/", shop.Release(1), 10); err != nil || changes != nil {
		t.Errorf("the same again: %v, %v", changes, err)
	}
	// Weights are another matter.
	y.do(y.s.Traffic(www, "/", map[ReleaseRef]int{shop.Release(2): 1}))
	y.do(y.s.SetMirror(www, "/", ReleaseRef{}, 0))
	vhost, _ = y.s.VirtualHost(www)
	if r, _ := vhost.Route("/"); r.Mirror != nil || len(r.Targets) != 1 {
		t.Errorf("ended: %v", r)
	}
	if changes, err := y.s.SetMirror(www, "/", ReleaseRef{}, 0); err != nil || changes != nil {
		t.Errorf("ended twice: %v, %v", changes, err)
	}
}
