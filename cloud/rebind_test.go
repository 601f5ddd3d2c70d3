package cloud

import (
	"testing"
	"time"
)

// bound is a cloud in which shop is bound to testdb, and www.example.com leads to it.
func bound(t *testing.T) *story {
	y := begin(t)
	for _, name := range []AppName{"testdb", "proddb"} {
		changes, _, err := y.s.CreateService(NewService{
			App: AppRef{DefaultGroup, name}, Service: Service{Kind: "postgres", Variable: "DATABASE_URL"}, Built: Built{Image: Image{Digest: "sha256:1"}},
		}, ann)
		y.do(changes, err)
		y.finishRollout(AppRef{DefaultGroup, name})
	}
	release := ProcessSpec{}
	y.pushed(shop, PushSpec{Services: []Binding{{Service: "testdb"}}, Processes: map[ProcessName]ProcessSpec{ReleaseCommand: release}})
	y.do(y.s.Map(Map{Host: www, Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	return y
}

func (y *story) swap(h Host, to ReleaseRef, rebind map[AppName]AppName) *story {
	y.Helper()
	changes, made, err := y.s.RebindCrossfade(h, "/", to, rebind, []int{20, 100}, FadePlan{Over: Duration(time.Minute), Max: Duration(time.Hour), OnInconclusive: InconclusiveHold}, false, ann)
	seen := map[Key]bool{}
	for _, c := range changes {
		if seen[c.Key] {
			y.Errorf("%s is written twice, which a store refuses", c.Key)
		}
		seen[c.Key] = true
	}
	y.do(changes, err)
	if rel := y.release(shop, made.N); !rel.Staged || !y.s.AwaitsCommand(rel) {
		y.Errorf("%s: staged %t; it awaits its release command: %t", made, rel.Staged, y.s.AwaitsCommand(rel))
	}
	return y
}

// services says which services the releases that run are bound to.
func (y *story) services(want string) {
	y.Helper()
	got := ""
	for rel := range y.s.Releases(shop) {
		if y.s.Runs(rel) {
			for _, b := range rel.Spec.Bindings {
				got += string(b.Service) + " "
			}
		}
	}
	if got != want {
		y.Errorf("bound to %q, want %q", got, want)
	}
}

// A cross-fade that rebinds moves release and service together, and both go back together.
func TestRebindCrossfade(t *testing.T) {
	rebind := map[AppName]AppName{"testdb": "proddb"}
	y := bound(t).swap(www, shop.Release(1), rebind)
	y.services("testdb proddb ")
	y.do(y.s.MarkReleased(shop.Release(2)), nil)
	if y.s.AwaitsCommand(y.release(shop, 2)) {
		t.Error("the release command would run again")
	}
	y.step(www)
	y.route(www, "/", "shop@r1 80, shop@r2 20")
	y.step(www)
	y.phases(shop, "r1 retired, r2 current")
	y.services("proddb ")

	for _, steps := range []int{0, 1} {
		y = bound(t).swap(www, shop.Release(0), rebind)
		for range steps {
			y.step(www)
		}
		y.do(y.s.AbortCrossfade(www, "/", "it got worse", nil, ann))
		y.phases(shop, "r1 current, r2 stopped")
		y.route(www, "/", "shop")
		y.services("testdb ")
	}

	// A failed release command leaves nothing either.
	y = bound(t).swap(www, shop.Release(1), rebind)
	y.do(y.s.Fail(shop.Release(2), Failure{At: noon, Reason: "the migration is broken"}), nil)
	y.do(y.s.AbortCrossfade(www, "/", "r2 failed", nil, ann))
	y.phases(shop, "r1 current, r2 failed")
	y.services("testdb ")
}

// The manifest goes on naming the service that a rebind has replaced.
func TestManifestAfterRebind(t *testing.T) {
	y := bound(t)
	changes, _, err := y.s.ChangeBindings(shop.Release(0), BindingChange{Rebind: map[AppName]AppName{"testdb": "proddb"}}, "rebind", ann)
	y.do(changes, err)
	y.finishRollout(shop)
	y.services("proddb ")
	named := func(want AppName) {
		t.Helper()
		y.pushed(shop, PushSpec{Services: []Binding{{Service: "testdb"}}})
		if got := y.release(shop, y.app(shop).Current).Spec.Bindings; len(got) != 1 || got[0].Service != want {
			t.Errorf("bound to %v, want %s", got, want)
		}
	}
	named("proddb")
	changes, _, err = y.s.ChangeBindings(shop.Release(0), BindingChange{Unbind: []AppName{"proddb"}}, "unbind", ann)
	y.do(changes, err)
	y.finishRollout(shop)
	named("testdb")
	_, _, err = y.s.Push(Push{App: shop, Spec: PushSpec{Services: []Binding{{Service: "other"}}}, Built: Built{Image: Image{Digest: "sha256:1"}}}, ann)
	y.refuses(nil, err, NotFound, `no service "other"`)
	if hint := HintOf(err); hint != "micro service create KIND other" {
		t.Error(hint)
	}
}

// A change of bindings ends every warm release that has another account, not only the one before: what was unbound must
// have no session left.
func TestChangeOfBindingsEndsAllWarmReleases(t *testing.T) {
	f := func(what string, change BindingChange, want string) {
		t.Run(what, func(t *testing.T) {
			y := bound(t)
			y.pushed(shop, PushSpec{})
			y.pushed(shop, PushSpec{})
			y.services("testdb testdb testdb ")
			changes, _, err := y.s.ChangeBindings(shop.Release(0), change, what, ann)
			y.do(changes, err)
			y.finishRollout(shop)
			y.services(want)
		})
	}
	f("rebind", BindingChange{Rebind: map[AppName]AppName{"testdb": "proddb"}}, "proddb ")
	f("rotate", BindingChange{Rotate: []AppName{"testdb"}}, "testdb ")
	f("unbind", BindingChange{Unbind: []AppName{"testdb"}}, "")
}
