package cloud

import (
	"math"
	"testing"
	"time"
)

const www, beta = Host("www.example.com"), Host("beta.example.com")

// fading is a cloud in which shop@r1 is current, r2 and r3 are staged, and two hosts follow shop.
func fading(t *testing.T) *story {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.pushed(blog, PushSpec{})
	for _, h := range []Host{www, beta} {
		y.do(y.s.Map(Map{Host: h, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	}
	return y
}

func (y *story) fade(h Host, to ReleaseRef) ([]Change, error) {
	plan := FadePlan{Over: Duration(time.Minute), Max: Duration(time.Hour), OnInconclusive: InconclusiveHold}
	return y.s.BeginCrossfade(h, "/", to, []int{20, 100}, plan, true, ann)
}

// step takes a fade to its next step.
func (y *story) step(h Host) {
	y.Helper()
	vhost, _ := y.s.VirtualHost(h)
	r, _ := vhost.Route("/")
	if r.Crossfade == nil {
		y.Fatalf("%s is not being cross-faded", h)
	}
	y.do(y.s.StepCrossfade(h, "/", r.Crossfade, r.Crossfade.Planned(), noon.Add(10*time.Minute), nil, ann), nil)
}

// What was decided about a fade is not done to another one, nor to it twice, nor while it is held.
func TestStepOfTheFadeThatWasSeen(t *testing.T) {
	y := fading(t)
	y.do(y.fade(www, shop.Release(3)))
	vhost, _ := y.s.VirtualHost(www)
	seen := vhost.Routes[0].Crossfade
	none := func(what string) {
		t.Helper()
		if changes := y.s.StepCrossfade(www, "/", seen, 20, noon, nil, ann); changes != nil {
			t.Errorf("%s: %d changes", what, len(changes))
		}
	}
	y.do(y.s.PauseCrossfade(www, "/", true, ann))
	none("it is held")
	y.do(y.s.PauseCrossfade(www, "/", false, ann))
	y.step(www)
	none("it is a step further")
	y.do(y.s.AbortCrossfade(www, "/", "", nil, ann))
	none("it has ended")
	later := ann
	later.At = noon.Add(time.Second)
	y.do(y.s.BeginCrossfade(www, "/", shop.Release(3), []int{20, 100}, seen.FadePlan, true, later))
	none("another one has begun")
}

func TestCrossfade(t *testing.T) {
	y := fading(t)
	y.do(y.fade(www, shop.Release(3)))
	y.route(www, "/", "shop@r1 100, shop@r3 0")
	y.step(www)
	y.route(www, "/", "shop@r1 80, shop@r3 20")
	y.do(y.s.AbortCrossfade(www, "/", "worse", nil, ann))
	y.route(www, "/", "shop")
	y.phases(shop, "r1 current, r2 staged, r3 staged")
	y.do(y.fade(www, shop.Release(3)))
	y.step(www)
	y.step(www)
	y.route(www, "/", "shop")
	y.phases(shop, "r1 warm, r2 staged, r3 current")

	// Between two apps nothing becomes current.
	y.do(y.fade(www, blog.Release(1)))
	y.step(www)
	y.step(www)
	y.route(www, "/", "blog@r1")
	y.phases(shop, "r1 warm, r2 staged, r3 current")
}

// While a fade is under way whose end makes a release current, nothing else may do that.
func TestCrossfadeHoldsItsApp(t *testing.T) {
	y := fading(t)
	y.do(y.fade(www, shop.Release(3)))
	for what, do := range map[string]func() ([]Change, error){
		"push": func() ([]Change, error) {
			changes, _, err := y.s.Push(Push{App: shop, Built: Built{Image: Image{Digest: "sha256:1", Name: "one"}}}, ann)
			return changes, err
		},
		"env": func() ([]Change, error) {
			changes, _, err := y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"A": "1"}}, ann)
			return changes, err
		},
		"promote":      func() ([]Change, error) { return y.s.Promote(shop.Release(2), true, ann) },
		"another fade": func() ([]Change, error) { return y.fade(beta, shop.Release(2)) },
	} {
		changes, err := do()
		if y.refuses(changes, err, Conflict, "being cross-faded"); err == nil {
			t.Errorf("by %s", what)
		}
	}
	if _, _, err := y.s.Env(shop.Release(2), EnvChange{Set: map[string]string{"A": "1"}}, ann); err != nil {
		t.Errorf("a staged release is nothing to a fade: %v", err)
	}

	// The other way round: a switch that has begun ends first.
	y = fading(t)
	y.push(shop, PushSpec{}, false)
	changes, err := y.fade(www, shop.Release(3))
	y.refuses(changes, err, Conflict, "being switched to shop@r4")
	y.do(y.fade(www, blog.Release(1)))
}

// Several hosts may go to the same release at a time. The first that arrives makes it current; another
// one that turns back leads to where it did before all the same.
func TestCrossfadesOfOneApp(t *testing.T) {
	y := fading(t)
	y.do(y.fade(www, shop.Release(3)))
	y.do(y.fade(beta, shop.Release(3)))
	y.step(www)
	y.step(beta)
	y.step(www)
	y.route(www, "/", "shop")
	y.phases(shop, "r1 routed, r2 staged, r3 current")
	y.do(y.s.AbortCrossfade(beta, "/", "worse", nil, ann))
	y.route(beta, "/", "shop@r1")

	// From one app to another, the way back follows what has become current meanwhile.
	y.do(y.fade(www, blog.Release(1)))
	y.pushed(shop, PushSpec{})
	y.do(y.s.AbortCrossfade(www, "/", "worse", nil, ann))
	y.route(www, "/", "shop")
}

// A fade is not led back to a release that was stopped meanwhile: nothing would answer.
func TestCrossfadeBackToNothing(t *testing.T) {
	y := fading(t)
	y.do(y.fade(www, shop.Release(3)))
	y.step(www)
	y.do(y.s.Stop(shop.Release(1), false))
	changes, err := y.s.AbortCrossfade(www, "/", "worse", nil, ann)
	y.refuses(changes, err, Conflict, "shop@r1 is stopped")
	y.route(www, "/", "shop@r1 80, shop@r3 20")
	y.do(y.s.Start(shop.Release(1), ann))
	y.do(y.s.AbortCrossfade(www, "/", "worse", nil, ann))
	y.route(www, "/", "shop")
}

// What runs with less memory than the release it replaces is replaced itself.
func TestCrossfadeRaisesTheFormation(t *testing.T) {
	y := begin(t)
	large, small, two := int64(512<<20), int64(128<<20), 2
	y.pushed(shop, PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Memory: &large, Instances: &two}}})
	y.staged(shop, PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Memory: &small}}})
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.fade(www, shop.Release(2)))
	if r := y.release(shop, 2); r.Formation[Web].Memory != large || r.Formation[Web].Instances != 2 || r.Generation != 1 {
		t.Errorf("%+v, generation %d", r.Formation[Web], r.Generation)
	}
	// More instances alone leave those that run as they are.
	y = begin(t)
	y.pushed(shop, instances(3))
	y.staged(shop, instances(1))
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.do(y.fade(www, shop.Release(2)))
	if r := y.release(shop, 2); r.Formation[Web].Instances != 3 || r.Generation != 0 {
		t.Errorf("%+v, generation %d", r.Formation[Web], r.Generation)
	}
}

// A manifest that names a host joins no route that is being cross-faded: the next step would drop it.
func TestManifestJoinsNoCrossfade(t *testing.T) {
	y := fading(t)
	y.do(y.fade(www, shop.Release(3)))
	draft := PushSpec{Routes: []RouteSpec{{Host: www, Path: "/"}}}
	changes, _, err := y.s.Push(Push{App: blog, Spec: draft, Built: Built{Image: Image{Digest: "sha256:1", Name: "one"}}}, ann)
	y.refuses(changes, err, Conflict, "being cross-faded")
	y.route(www, "/", "shop@r1 100, shop@r3 0")
	y.staged(shop, draft) // it leads there already
}

// What a release's manifest says of its routes is done when a fade makes it current, on the host that was
// faded too.
func TestCrossfadeMapsTheManifest(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	y.staged(shop, PushSpec{Routes: []RouteSpec{{Host: www, Path: "/"}, {Host: www, Path: "/api", Public: true}}})
	y.do(y.fade(www, shop.Release(2)))
	y.step(www)
	y.step(www)
	y.route(www, "/", "shop")
	y.route(www, "/api", "shop")
	if vhost, _ := y.s.VirtualHost(www); vhost.Exposure != ExposedPublic {
		t.Errorf("exposure is %s", vhost.Exposure)
	}
}

// Who deletes one of two apps that a host is faded between leaves the host to the other.
func TestDeleteAnAppOfACrossfade(t *testing.T) {
	for _, c := range []struct {
		deleted AppRef
		want    string
	}{{blog, "shop"}, {shop, "blog@r1"}} {
		y := fading(t)
		y.do(y.fade(www, blog.Release(1)))
		y.do(y.s.Delete(c.deleted.Release(0)))
		y.route(www, "/", c.want)
	}
}

func TestCrossfadePlan(t *testing.T) {
	good := FadePlan{Over: Duration(time.Minute), Guards: []string{"errors", "latency"}, Errors: .005, Latency: .2, Max: Duration(time.Hour), OnInconclusive: InconclusiveHold}
	for _, c := range []struct {
		name   string
		steps  []int
		change func(*FadePlan)
		ok     bool
	}{
		{"a good one", []int{1, 50, 100}, func(*FadePlan) {}, true},
		{"one step", []int{100}, func(*FadePlan) {}, true},
		{"no guards", []int{100}, func(p *FadePlan) { p.Guards = nil }, true},
		{"no steps", nil, func(*FadePlan) {}, false},
		{"from nothing", []int{0, 100}, func(*FadePlan) {}, false},
		{"falling", []int{50, 20, 100}, func(*FadePlan) {}, false},
		{"twice", []int{50, 50, 100}, func(*FadePlan) {}, false},
		{"not to the end", []int{50}, func(*FadePlan) {}, false},
		{"beyond it", []int{50, 150}, func(*FadePlan) {}, false},
		{"a time before", []int{100}, func(p *FadePlan) { p.Over = -1 }, false},
		{"more than a month", []int{100}, func(p *FadePlan) { p.Over = Duration(31 * 24 * time.Hour) }, false},
		{"no patience", []int{100}, func(p *FadePlan) { p.Max = 0 }, false},
		{"an unknown guard", []int{100}, func(p *FadePlan) { p.Guards = []string{"colour"} }, false},
		{"a guard twice", []int{100}, func(p *FadePlan) { p.Guards = []string{"errors", "errors"} }, false},
		{"a margin below nothing", []int{100}, func(p *FadePlan) { p.Errors = -.1 }, false},
		{"a margin above all", []int{100}, func(p *FadePlan) { p.Errors = 1.1 }, false},
		{"a margin that is no number", []int{100}, func(p *FadePlan) { p.Latency = math.NaN() }, false},
		{"an unknown end", []int{100}, func(p *FadePlan) { p.OnInconclusive = "maybe" }, false},
	} {
		plan := good
		c.change(&plan)
		if err := plan.validate(c.steps); (err == nil) != c.ok || err != nil && CodeOf(err) != Invalid {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
