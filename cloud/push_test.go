package cloud

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPushInheritsEnvAndFormation(t *testing.T) {
	y := begin(t)
	memory := int64(64 << 20)
	three := 3
	y.pushed(shop, PushSpec{
		Env:       map[string]string{"A": "1", "B": "2"},
		Processes: map[ProcessName]ProcessSpec{Web: {Instances: &three, Memory: &memory}, "worker": {Instances: &three}},
	})
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(5)}}, false))
	rel := y.pushed(shop, PushSpec{Env: map[string]string{"B": "3"}})
	if want := map[string]string{"A": "1", "B": "3"}; !maps.Equal(rel.Spec.Env, want) {
		t.Errorf("env is %v, want %v", rel.Spec.Env, want)
	}
	if want := (Formation{Web: {Instances: 5, Memory: memory}}); !maps.Equal(rel.Formation, want) {
		t.Errorf("formation is %v, want %v", rel.Formation, want)
	}
	if rel.Parent != 1 || rel.N != 2 {
		t.Errorf("release is r%d of r%d", rel.N, rel.Parent)
	}
	y.phases(shop, "r1 warm, r2 current")
}

func TestFailedPushLeavesTheAppAsItWas(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	before := dump(y.s)
	rel := y.push(shop, PushSpec{Env: map[string]string{"A": "1"}, Routes: []RouteSpec{{Host: "other.example.com", Path: "/"}}}, false)
	y.phases(shop, "r1 current, r2 starting")
	y.do(y.s.Fail(rel.ReleaseRef, Failure{At: noon, Reason: "exited"}), nil)
	y.phases(shop, "r1 current, r2 failed")
	app := *y.app(shop)
	app.Last = 1
	y.do([]Change{Put(&app), Delete(rel)}, nil)
	if after := dump(y.s); after != before {
		t.Errorf("the app was\n%s\nand is\n%s", before, after)
	}
}

func TestNewerPushSupersedes(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	y.push(shop, PushSpec{}, false)
	y.phases(shop, "r1 superseded, r2 starting")
	y.finishRollout(shop)
	y.phases(shop, "r1 superseded, r2 current")
	_, _, err := y.s.Rollback(shop, 1, ann)
	y.refuses(nil, err, Conflict, "was never up")
}

// A staged release whose promotion is superseded stays staged.
func TestSupersededPromotionStaysStaged(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Promote(shop.Release(2), false, ann))
	y.phases(shop, "r1 current, r2 starting")
	y.push(shop, PushSpec{}, false)
	y.phases(shop, "r1 current, r2 staged, r3 starting")
}

func TestRoutesOfTheManifestComeWithTheRelease(t *testing.T) {
	y := begin(t)
	routes := []RouteSpec{{Host: "www.example.com", Path: "/", Public: true}, {Host: "www.example.com", Path: "/api"}}
	y.push(shop, PushSpec{Routes: routes}, false)
	y.route("www.example.com", "/", "unknown")
	y.finishRollout(shop)
	y.route("www.example.com", "/", "shop")
	y.route("www.example.com", "/api", "shop")
	y.do(y.s.Unmap("www.example.com", "/api", shop.Release(0), true))
	// What was unmapped since then stays so, but where a manifest asks again.
	changes, _, err := y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"A": "1"}}, ann)
	y.do(changes, err)
	y.finishRollout(shop)
	y.route("www.example.com", "/api", "nowhere")
	y.pushed(shop, PushSpec{Routes: routes})
	y.route("www.example.com", "/api", "shop")
	y.pushed(shop, PushSpec{NoRoute: true})
	y.route("www.example.com", "/", "nowhere")
	// And a roll-back moves no route of the manifest.
	changes, _, err = y.s.Rollback(shop, 0, ann)
	y.do(changes, err)
	y.finishRollout(shop)
	y.route("www.example.com", "/", "nowhere")
}

func TestPushRefuses(t *testing.T) {
	y := begin(t)
	y.do([]Change{Put(&VirtualHost{Host: "taken.example.com", Group: "qa", Exposure: ExposedInternal})}, nil)
	y.pushed(AppRef{DefaultGroup, "vol"}, withVolume())
	rolling := Strategy{Kind: Rolling}
	for _, c := range []struct {
		app  AppRef
		d    PushSpec
		code Code
		part string
	}{
		{AppRef{DefaultGroup, "Shop"}, PushSpec{}, Invalid, "invalid"},
		{AppRef{DefaultGroup, "api"}, PushSpec{}, Invalid, "reserved"},
		{AppRef{DefaultGroup, "qa"}, PushSpec{}, Conflict, "is the name of a group"},
		{AppRef{"nope", "shop"}, PushSpec{}, NotFound, "no group"},
		{shop, PushSpec{EnvRequired: []string{"TOKEN"}}, Invalid, "TOKEN is required"},
		{shop, PushSpec{Env: map[string]string{"a b": "1"}}, Invalid, `"a b"`},
		{shop, PushSpec{Env: map[string]string{"A": "\x00"}}, Invalid, "NUL"},
		{shop, PushSpec{Env: map[string]string{"A": strings.Repeat("x", MaxEnvBytes)}}, Invalid, "bytes"},
		{shop, instances(-1), Invalid, "-1 instances"},
		{shop, instances(1001), Invalid, "1001 instances"},
		{shop, PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Port: new(70000)}}}, Invalid, "port 70000"},
		{shop, PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Memory: new(int64(1))}}}, Invalid, "less than 6M"},
		{shop, PushSpec{Volumes: []Volume{{Name: "a", Path: "/proc/x"}}}, Invalid, "/proc"},
		{shop, PushSpec{Volumes: []Volume{{Name: "a", Path: "/a"}, {Name: "a", Path: "/b"}}}, Invalid, "twice"},
		{shop, PushSpec{Volumes: []Volume{{Name: "a", Path: "/a"}}, Processes: map[ProcessName]ProcessSpec{Web: {Instances: new(2)}}}, Invalid, "2 instances would write to volume"},
		{shop, PushSpec{Volumes: []Volume{{Name: "a", Path: "/a"}}, Strategy: &rolling}, Invalid, "two releases on volume"},
		{shop, PushSpec{Strategy: &Strategy{Kind: Rolling, Surge: new(-1)}}, Invalid, "surge -1 is not between"},
		{shop, PushSpec{Strategy: &Strategy{Kind: Cutover, Surge: new(1001)}}, Invalid, "surge 1001 is not between"},
		{shop, PushSpec{Strategy: &Strategy{Kind: Recreate, Surge: new(1)}}, Invalid, "recreate has no surge"},
		{shop, PushSpec{Routes: []RouteSpec{{Host: "A.example.com", Path: "/"}}}, Invalid, "lower case"},
		{shop, PushSpec{Routes: []RouteSpec{{Host: "a.example.com", Path: "a//b"}}}, Invalid, "clean path"},
		{shop, PushSpec{Routes: []RouteSpec{{Host: "taken.example.com", Path: "/"}}}, Conflict, "another group"},
	} {
		_, _, err := y.s.Push(Push{App: c.app, Spec: c.d}, ann)
		if CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s %+v: %s %v, want %s %q", c.app, c.d, CodeOf(err), err, c.code, c.part)
		}
		if got := y.s.CheckPush(c.app, c.d, false); CodeOf(got) != c.code {
			t.Errorf("%s: the check before says %v", c.app, got)
		}
	}
}

// All that is wrong is said at once.
func TestPushReportsEverything(t *testing.T) {
	y := begin(t)
	err := y.s.CheckPush(shop, PushSpec{
		Env: map[string]string{"1": "x", "A B": "y"}, Strategy: &Strategy{Kind: "soon", Batch: -1},
		Processes: map[ProcessName]ProcessSpec{Web: {Port: new(-1), Instances: new(-1)}, "Bad": {Startup: new(Duration(-1))}},
	}, false)
	if lines := strings.Count(err.Error(), "\n") + 1; lines < 8 {
		t.Errorf("%d faults:\n%v", lines, err)
	}
}

func TestVolumesHaveOneWriter(t *testing.T) {
	y := begin(t)
	y.pushed(shop, withVolume())
	if s := y.release(shop, 1).Spec.Strategy.Kind; s != Recreate {
		t.Errorf("strategy is %s", s)
	}
	changes, _, err := y.s.Push(Push{App: shop, Stage: true}, ann)
	y.refuses(changes, err, Conflict, `release shop@r1 holds volume "data"`)
	y.refuses(nil, y.s.CheckPush(shop, PushSpec{}, true), Conflict, "holds volume")
	y.pushed(shop, PushSpec{})
	y.phases(shop, "r1 retired, r2 current") // never warm
	changes, err = y.s.Start(shop.Release(1), ann)
	y.refuses(changes, err, Conflict, "release shop@r2 holds volume")
	changes, err = y.s.Map(Map{Host: "a.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(1)}}, ann)
	y.refuses(changes, err, Conflict, "holds volume")
	// Pinned, the current one would run on beside its successor.
	y.do(y.s.Map(Map{Host: "a.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann))
	changes, _, err = y.s.Push(Push{App: shop}, ann)
	y.refuses(changes, err, Conflict, "release shop@r2 holds volume")
	changes, _, err = y.s.Rollback(shop, 1, ann)
	y.refuses(changes, err, Conflict, "release shop@r2 holds volume")
	y.do(y.s.Unmap("a.example.com", "/", shop.Release(2), true))
	changes, _, err = y.s.Rollback(shop, 1, ann)
	y.do(changes, err)
	y.phases(shop, "r1 starting, r2 current")
}

func TestVolumesHaveOneInstance(t *testing.T) {
	y := begin(t)
	y.pushed(shop, withVolume())
	two := map[ProcessName]ProcessSpec{Web: {Instances: new(2)}}
	changes, err := y.s.Scale(shop.Release(0), two, false)
	y.refuses(changes, err, Invalid, `2 instances would write to volume "data" at once`)
	y.pushed(shop, PushSpec{Volumes: []Volume{{Name: "data", Path: "/data", Shared: true}}})
	changes, err = y.s.Scale(shop.Release(0), two, false)
	y.do(changes, err)
	// Back to one that can't be shared: it is raised to the memory of what it replaces, not to its number.
	changes, err = y.s.Promote(shop.Release(1), true, ann)
	y.do(changes, err)
	if n := y.release(shop, 1).Formation[Web].Instances; n != 1 {
		t.Errorf("%d instances on one volume", n)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	y := begin(t)
	for range maxHistory + 20 {
		y.pushed(shop, PushSpec{})
	}
	h := y.app(shop).History
	if len(h) != maxHistory || h[len(h)-1] != maxHistory+19 || !slices.IsSorted(h) {
		t.Errorf("history is %v", h)
	}
}

func TestCool(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(shop, PushSpec{})
	y.phases(shop, "r1 warm, r2 current")
	y.do(y.s.Cool(shop, Stamp{At: noon.Add(10*time.Minute - 1)}), nil)
	y.phases(shop, "r1 warm, r2 current")
	y.do(y.s.Cool(shop, Stamp{At: noon.Add(10 * time.Minute)}), nil)
	y.phases(shop, "r1 retired, r2 current")
}

// Nothing of an app runs beside a release with the strategy recreate, also no release from before that has another one.
func TestRecreateKeepsNothingWarm(t *testing.T) {
	y := begin(t)
	for range 3 {
		y.pushed(shop, PushSpec{})
	}
	y.phases(shop, "r1 warm, r2 warm, r3 current")
	y.pushed(shop, PushSpec{Strategy: &Strategy{Kind: Recreate}})
	y.phases(shop, "r1 retired, r2 retired, r3 retired, r4 current")
}
