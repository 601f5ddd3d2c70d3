package cloud

import (
	"maps"
	"strings"
	"testing"
	"time"
)

func TestPromote(t *testing.T) {
	y := begin(t)
	y.pushed(shop, instances(4))
	rel := y.staged(shop, instances(1))
	y.phases(shop, "r1 current, r2 staged")
	generation := rel.Generation
	y.do(y.s.Promote(rel.ReleaseRef, false, ann))
	if rel = y.release(shop, 2); rel.Formation[Web].Instances != 4 || rel.Generation != generation {
		t.Errorf("formation is %v of generation %d", rel.Formation, rel.Generation)
	}
	y.finishRollout(shop)
	y.phases(shop, "r1 warm, r2 current")
	if rel = y.release(shop, 2); rel.Staged || !rel.Up {
		t.Errorf("release is %+v", rel)
	}
	changes, err := y.s.Promote(rel.ReleaseRef, false, ann)
	y.refuses(changes, err, Conflict, "is current already")
	changes, err = y.s.Promote(shop.Release(9), false, ann)
	y.refuses(changes, err, NotFound, "no release r9")
	changes, err = y.s.Promote(blog.Release(1), false, ann)
	y.refuses(changes, err, NotFound, `no app "blog"`)
}

// Memory raised by a promotion has to reach the instances that run already.
func TestPromoteRaisesMemoryByNewInstances(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	rel := y.staged(shop, PushSpec{Processes: map[ProcessName]ProcessSpec{Web: {Memory: new(int64(64 << 20))}}})
	y.do(y.s.Promote(rel.ReleaseRef, false, ann))
	if now := y.release(shop, 2); now.Generation != rel.Generation+1 || now.Formation[Web].Memory != DefaultMemory {
		t.Errorf("formation is %v of generation %d", now.Formation, now.Generation)
	}
}

func TestPromoteOfSupersededNeedsYes(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	changes, ref, err := y.s.Env(shop.Release(2), EnvChange{Set: map[string]string{"A": "1"}}, ann)
	y.do(changes, err)
	if rel := y.release(shop, ref.N); !rel.Staged || rel.Parent != 2 {
		t.Errorf("release is %+v", rel)
	}
	y.phases(shop, "r1 current, r2 staged, r3 starting")
	changes, err = y.s.Promote(shop.Release(2), false, ann)
	y.refuses(changes, err, Conflict, "superseded by shop@r3")
	changes, err = y.s.Map(Map{Host: "a.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(2)}}, ann)
	y.refuses(changes, err, Conflict, "superseded by shop@r3")
	y.do(y.s.Map(Map{Host: "a.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(2)}, Force: true}, ann))
	y.do(y.s.Promote(shop.Release(2), true, ann))
	// Somebody else's staged release supersedes none.
	y = begin(t)
	y.pushed(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.staged(shop, PushSpec{})
	y.do(y.s.Promote(shop.Release(2), false, ann))
}

func TestRollbackBringsBackAllOfARelease(t *testing.T) {
	y := begin(t)
	command := "serve"
	first := y.pushed(shop, PushSpec{Env: map[string]string{"A": "1"}, Processes: map[ProcessName]ProcessSpec{Web: {Command: &command, Instances: new(3)}}})
	y.pushed(shop, instances(7))
	changes, ref, err := y.s.Rollback(shop, 0, ann)
	y.do(changes, err)
	if ref != shop.Release(1) {
		t.Errorf("rolls back to %s", ref)
	}
	y.phases(shop, "r1 starting, r2 current")
	y.finishRollout(shop)
	y.phases(shop, "r1 current, r2 warm")
	now := y.release(shop, 1)
	if !maps.Equal(now.Formation, first.Formation) || now.Spec.Env["A"] != "1" || now.Spec.Processes[Web].Command != "serve" || now.Generation != first.Generation {
		t.Errorf("release is %+v, was %+v", now, first)
	}
	// Once more goes forth again, and a third time back.
	_, ref, _ = y.s.Rollback(shop, 0, ann)
	if ref != shop.Release(2) || y.app(shop).Last != 2 {
		t.Errorf("rolls back to %s", ref)
	}
	changes, _, err = y.s.Rollback(shop, 1, ann)
	y.refuses(changes, err, Conflict, "is current already")
	changes, _, err = y.s.Rollback(shop, 9, ann)
	y.refuses(changes, err, NotFound, "no release r9")
	y = begin(t)
	y.pushed(shop, PushSpec{})
	changes, _, err = y.s.Rollback(shop, 0, ann)
	y.refuses(changes, err, Conflict, "no release that was current before")
}

// A roll-back to a release that no longer runs must not wait for how it once crashed.
func TestRollbackToARetiredReleaseStartsWithoutCrashes(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(shop, PushSpec{})
	y.do(y.s.Cool(shop, Stamp{At: noon.Add(time.Hour)}), nil)
	changes, _, err := y.s.Rollback(shop, 1, ann)
	y.do(changes, err)
	if g := y.release(shop, 1).Generation; g != 1 {
		t.Errorf("generation %d", g)
	}
}

func TestRollbackGivesUpASwitch(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.push(shop, PushSpec{}, false)
	_, _, err := y.s.Rollback(shop, 0, ann)
	if want := "micro rollback shop r1 stays with what is current, and gives up r2"; HintOf(err) != want {
		t.Errorf("the hint is %q, want %q", HintOf(err), want)
	}
	changes, _, err := y.s.Rollback(shop, 1, ann)
	y.do(changes, err)
	y.phases(shop, "r1 current, r2 superseded")
}

func TestScale(t *testing.T) {
	y := begin(t)
	y.pushed(shop, instances(1))
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(3)}}, false))
	if r := y.release(shop, 1); r.Generation != 0 || r.Formation[Web].Instances != 3 {
		t.Errorf("release is %+v", r)
	}
	y.do(y.s.Scale(shop.Release(1), map[ProcessName]ProcessSpec{Web: {Memory: new(int64(64 << 20))}}, false))
	if r := y.release(shop, 1); r.Generation != 1 || r.Formation[Web].Instances != 3 {
		t.Errorf("release is %+v", r)
	}
	if changes, err := y.s.Scale(shop.Release(1), map[ProcessName]ProcessSpec{Web: {Instances: new(3)}}, false); changes != nil || err != nil {
		t.Errorf("nothing to do is %v, %v", changes, err)
	}
	changes, err := y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{"worker": {Instances: new(3)}}, false)
	y.refuses(changes, err, NotFound, `no process "worker"`)
}

// What is scaled while another release takes over stays so.
func TestScaleWhileSwitching(t *testing.T) {
	y := begin(t)
	y.push(shop, instances(1), false)
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(2)}}, false)) // nothing is current yet
	y.finishRollout(shop)
	worker := PushSpec{Processes: map[ProcessName]ProcessSpec{"worker": {Instances: new(1)}}}
	y.push(shop, worker, false)
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(3)}}, false))
	y.do(y.s.Scale(shop.Release(1), map[ProcessName]ProcessSpec{Web: {Memory: new(int64(64 << 20))}}, false))
	one, two := y.release(shop, 1), y.release(shop, 2)
	if one.Formation[Web].Instances != 3 || two.Formation[Web].Instances != 3 || two.Formation["worker"].Instances != 1 {
		t.Errorf("r1 has %+v, r2 %+v", one.Formation, two.Formation)
	}
	if one.Generation != 1 || two.Generation != 0 {
		t.Errorf("generations are %d and %d: only one was named", one.Generation, two.Generation)
	}
	y.finishRollout(shop)
	y.push(shop, PushSpec{}, false)
	changes, _, err := y.s.Rollback(shop, 1, ann) // has no worker
	y.do(changes, err)
	y.do(y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{"worker": {Instances: new(2)}}, false))
	if two = y.release(shop, 2); two.Formation["worker"].Instances != 2 {
		t.Errorf("r2 has %+v", two.Formation)
	}
}

func TestStopAndStart(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{})
	y.pushed(shop, PushSpec{})
	y.push(shop, PushSpec{}, false)
	y.do(y.s.Stop(shop.Release(0), false))
	y.phases(shop, "r1 stopped, r2 stopped, r3 stopped")
	if y.app(shop).Rollout != nil {
		t.Error("the roll-out goes on")
	}
	changes, err := y.s.Restart(shop.Release(0))
	y.refuses(changes, err, Conflict, "does not run")
	changes, err = y.s.Promote(shop.Release(2), false, ann)
	y.refuses(changes, err, Conflict, "current already, and stopped")
	later := Stamp{At: noon.Add(time.Hour)}
	y.do(y.s.Start(shop.Release(0), later))
	y.phases(shop, "r1 stopped, r2 current, r3 stopped")
	if changes, err := y.s.Start(shop.Release(0), later); changes != nil || err != nil {
		t.Errorf("nothing to do is %v, %v", changes, err)
	}
	y.do(y.s.Start(shop.Release(1), later))
	y.phases(shop, "r1 staged, r2 current, r3 stopped")
	y.do(y.s.Start(shop.Release(3), later))
	y.phases(shop, "r1 staged, r2 current, r3 starting")
	if since := y.release(shop, 3).Since; !since.Equal(later.At) {
		t.Errorf("its time to come up counts from %s", since)
	}
	y.do(y.s.Restart(shop.Release(0)))
	y.do(y.s.Fail(shop.Release(3), Failure{Reason: "exited"}), nil)
	changes, err = y.s.Start(shop.Release(3), later)
	y.refuses(changes, err, Conflict, "failed: exited")
	y.do(y.s.Stop(shop.Release(1), false))
	y.phases(shop, "r1 stopped, r2 current, r3 failed")
	// A first push that is stopped on its way.
	y.push(blog, PushSpec{}, false)
	y.do(y.s.Stop(blog.Release(0), false))
	y.phases(blog, "r1 stopped")
}

func TestDelete(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{Routes: []RouteSpec{{Host: "www.example.com", Path: "/"}}})
	y.pushed(blog, PushSpec{})
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/blog", Target: Target{ReleaseRef: blog.Release(0)}}, ann))
	y.pushed(shop, PushSpec{})
	y.do(y.s.Map(Map{Host: "pin.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(1)}}, ann))
	y.push(shop, PushSpec{}, false)
	changes, err := y.s.Delete(shop.Release(1))
	y.refuses(changes, err, Conflict, "has routes")
	changes, err = y.s.Delete(shop.Release(2))
	y.refuses(changes, err, Conflict, "is current")
	changes, err = y.s.Delete(shop.Release(3))
	y.refuses(changes, err, Conflict, "is about to become current")
	y.do(y.s.Unmap("pin.example.com", "/", shop.Release(1), true))
	y.do(y.s.Delete(shop.Release(1)))
	if h := y.app(shop).History; len(h) != 0 {
		t.Errorf("history is %v", h)
	}
	y.do(y.s.Delete(shop.Release(0)))
	y.route("www.example.com", "/", "nowhere")
	y.route("www.example.com", "/blog", "blog")
	for k := range y.s.Objects() {
		if strings.Contains(string(k), "/shop") {
			t.Errorf("%s is left", k)
		}
	}
	y.do(y.s.Delete(blog.Release(0)))
	if _, ok := y.s.Group(DefaultGroup); !ok {
		t.Error("the group went with its last app")
	}
	changes, err = y.s.Delete(shop.Release(0))
	y.refuses(changes, err, NotFound, `no app "shop"`)
}

func TestReleaseCommandRunsOnce(t *testing.T) {
	y := begin(t)
	command := "migrate"
	d := PushSpec{Processes: map[ProcessName]ProcessSpec{ReleaseCommand: {Command: &command}}}
	rel := y.push(shop, d, false)
	if y.app(shop).Rollout.Released {
		t.Error("released before it ran")
	}
	y.do(y.s.MarkReleased(rel.ReleaseRef), nil)
	if !y.app(shop).Rollout.Released || !y.release(shop, 1).Ran {
		t.Errorf("app is %+v", y.app(shop).Rollout)
	}
	y.finishRollout(shop)
	y.pushed(shop, PushSpec{})
	changes, _, err := y.s.Rollback(shop, 1, ann)
	y.do(changes, err)
	if !y.app(shop).Rollout.Released {
		t.Error("a roll-back runs it again")
	}
}

func TestFormationAtLeast(t *testing.T) {
	f := func(n int, memory, cpu int64) Formation { return Formation{Web: {n, memory, cpu, cpu}} }
	for _, c := range []struct{ have, other, want Formation }{
		{f(1, 10, 100), f(4, 5, 200), f(4, 10, 200)},
		{f(5, 10, 0), f(4, 50, 200), f(5, 50, 0)},
		{f(1, 10, 100), f(4, 10, 0), f(4, 10, 0)},
		{f(1, 10, 100), f(0, 10, 0), f(1, 10, 100)},
		{f(1, 10, 0), Formation{"worker": {3, 3, 3, 3}}, f(1, 10, 0)},
		{Formation{}, f(1, 1, 1), Formation{}},
	} {
		if got := c.have.AtLeast(c.other); !maps.Equal(got, c.want) {
			t.Errorf("%v at least %v is %v, want %v", c.have, c.other, got, c.want)
		}
	}
}
