package cloud

import (
	"maps"
	"slices"
	"testing"
)

func TestEnv(t *testing.T) {
	y := begin(t)
	y.pushed(shop, PushSpec{Env: map[string]string{"A": "1", "B": "2"}})
	changes, ref, err := y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"C": "3", "PORT": "3000"}, Unset: []string{"A", "nothing"}}, ann)
	y.do(changes, err)
	rel := y.release(shop, ref.N)
	if want := map[string]string{"B": "2", "C": "3", "PORT": "3000"}; !maps.Equal(rel.Spec.Env, want) || rel.Spec.Processes[Web].Port != 3000 {
		t.Errorf("env is %v, port %d", rel.Spec.Env, rel.Spec.Processes[Web].Port)
	}
	if rel.Parent != 1 || rel.Cause != "env" || rel.Staged {
		t.Errorf("release is %+v", rel)
	}
	y.phases(shop, "r1 current, r2 starting")
	changes, _, err = y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"PORT": "http"}}, ann)
	y.refuses(changes, err, Invalid, "PORT")
	changes, _, err = y.s.Env(blog.Release(0), EnvChange{Set: map[string]string{"A": "1"}}, ann)
	y.refuses(changes, err, NotFound, "blog")
	if want := "micro apps create blog"; HintOf(err) != want {
		t.Errorf("the hint is %q, want %q", HintOf(err), want)
	}
	changes, _, err = y.s.Env(shop.Release(0), EnvChange{}, ann)
	y.refuses(changes, err, Invalid, "nothing to set")
	changes, _, err = y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"A": "1"}, Unset: []string{"A"}}, ann)
	y.refuses(changes, err, Invalid, "both set and unset")
	// What is as asked for already makes no release.
	changes, ref, err = y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"A": "1"}, Unset: []string{"nothing"}}, ann)
	if len(changes) > 0 || ref != shop.Release(1) || err != nil {
		t.Errorf("made %d changes for %s, %v", len(changes), ref, err)
	}
}

// What is set before the first release comes up is in it, however many attempts it takes.
func TestEnvBeforeTheFirstRelease(t *testing.T) {
	y := begin(t)
	set := func(env map[string]string, unset ...string) {
		t.Helper()
		changes, ref, err := y.s.Env(shop.Release(0), EnvChange{Set: env, Unset: unset}, ann)
		if y.do(changes, err); ref != shop.Release(0) {
			t.Errorf("made release %s", ref)
		}
	}
	has := func(n int, want map[string]string) {
		t.Helper()
		if env, _, of, err := y.s.EnvOf(shop.Release(0)); err != nil || of != n || !maps.Equal(env, want) {
			t.Errorf("r%d has %v, %v; want %v of r%d", of, env, err, want, n)
		}
	}
	y.do(y.s.Create(shop, ann))
	changes, err := y.s.Create(shop, ann)
	y.refuses(changes, err, Conflict, "exists already")
	has(0, nil)
	set(map[string]string{"A": "1", "B": "2", "PORT": "3000"})
	set(map[string]string{"A": "one"}, "B")
	has(0, map[string]string{"A": "one", "PORT": "3000"})
	changes, _, err = y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"PORT": "0"}}, ann)
	y.refuses(changes, err, Invalid, `PORT "0"`)

	rel := y.push(shop, PushSpec{Env: map[string]string{"C": "3"}, EnvDefaults: map[string]string{"A": "default", "D": "4"}, EnvRequired: []string{"A"}}, false)
	want := map[string]string{"A": "one", "PORT": "3000", "C": "3", "D": "4"}
	if !maps.Equal(rel.Spec.Env, want) || rel.Spec.Processes[Web].Port != 3000 {
		t.Errorf("r1 has %v and port %d", rel.Spec.Env, rel.Spec.Processes[Web].Port)
	}
	has(1, want) // it is what the app is switching to
	y.do(y.s.Fail(rel.ReleaseRef, Failure{Reason: "no database"}), nil)
	has(0, map[string]string{"A": "one", "PORT": "3000"})
	set(map[string]string{"DB": "x"})
	rel = y.push(shop, PushSpec{Env: map[string]string{"A": "flag"}}, false)
	// While the first one comes up, a change is a change of that.
	changes, ref, err := y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"LATE": "1"}}, ann)
	if y.do(changes, err); ref != shop.Release(3) {
		t.Fatalf("made %s", ref)
	}
	y.phases(shop, "r1 failed, r2 superseded, r3 starting")
	y.finishRollout(shop)
	want = map[string]string{"A": "flag", "PORT": "3000", "DB": "x", "LATE": "1"}
	has(3, want)
	if app := y.app(shop); app.Env != nil {
		t.Errorf("the app still has %v", app.Env)
	}
	if rel = y.push(shop, PushSpec{}, false); !maps.Equal(rel.Spec.Env, want) {
		t.Errorf("the next one has %v", rel.Spec.Env)
	}
}

// What a staged release would never see is not kept, but refused.
func TestEnvOfAnAppWithStagedReleasesAlone(t *testing.T) {
	y := begin(t)
	y.staged(shop, PushSpec{})
	changes, _, err := y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"A": "1"}}, ann)
	y.refuses(changes, err, Conflict, "shop@r1 is staged")
	changes, ref, err := y.s.Env(shop.Release(1), EnvChange{Set: map[string]string{"A": "1"}}, ann)
	if y.do(changes, err); ref != shop.Release(2) || !y.release(shop, 2).Staged {
		t.Errorf("made %s", ref)
	}
}

// An app without a release can be deleted and have hosts; all else says what is missing.
func TestAppWithoutRelease(t *testing.T) {
	y := begin(t)
	y.do(y.s.Create(shop, ann))
	y.do(y.s.Map(Map{Host: "www.example.com", Path: "/", Target: Target{ReleaseRef: shop.Release(0)}}, ann))
	for verb, do := range map[string]func() ([]Change, error){
		"stop":    func() ([]Change, error) { return y.s.Stop(shop.Release(0), false) },
		"start":   func() ([]Change, error) { return y.s.Start(shop.Release(0), ann) },
		"restart": func() ([]Change, error) { return y.s.Restart(shop.Release(0)) },
		"scale": func() ([]Change, error) {
			return y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Instances: new(3)}}, false)
		},
	} {
		changes, err := do()
		if y.refuses(changes, err, NotFound, "no current release yet"); HintOf(err) != "micro push --app shop" {
			t.Errorf("%s: the hint is %q", verb, HintOf(err))
		}
	}
	for _, name := range []AppName{"Shop", "api", "", "qa"} {
		if changes, err := y.s.Create(AppRef{DefaultGroup, name}, ann); err == nil {
			t.Errorf("made %q: %v", name, changes)
		}
	}
	y.do(y.s.Delete(shop.Release(0)))
	y.route("www.example.com", "/", "nowhere")
}

// A secret stays one through changes, pushes and roll-backs, until it is unset.
func TestSecrets(t *testing.T) {
	y := begin(t)
	has := func(r ReleaseRef, env map[string]string, secrets ...string) {
		t.Helper()
		got, names, _, err := y.s.EnvOf(r)
		if err != nil || !maps.Equal(got, env) || !slices.Equal(names, secrets) {
			t.Errorf("%s has %v with secrets %v, %v; want %v with %v", r, got, names, err, env, secrets)
		}
	}
	set := func(c EnvChange) ReleaseRef {
		t.Helper()
		changes, ref, err := y.s.Env(shop.Release(0), c, ann)
		y.do(changes, err)
		return ref
	}
	y.do(y.s.Create(shop, ann))
	set(EnvChange{Set: map[string]string{"B": "b", "A": "a"}, Secret: true})
	has(shop.Release(0), map[string]string{"A": "a", "B": "b"}, "A", "B")
	changes, _, err := y.s.Push(Push{App: shop, Spec: PushSpec{Env: map[string]string{"B": "from the manifest"}}}, ann)
	y.refuses(changes, err, Conflict, "B, which is a secret of shop")
	y.pushed(shop, PushSpec{Env: map[string]string{"C": "c"}, EnvDefaults: map[string]string{"A": "default"}})
	has(shop.Release(1), map[string]string{"A": "a", "B": "b", "C": "c"}, "A", "B")
	if app := y.app(shop); app.Secrets != nil {
		t.Errorf("the app still has %v", app.Secrets)
	}
	if made := set(EnvChange{Set: map[string]string{"A": "new"}}); made.N != 2 {
		t.Errorf("made %s", made)
	}
	has(shop.Release(2), map[string]string{"A": "new", "B": "b", "C": "c"}, "A", "B")
	y.finishRollout(shop)
	changes, _, err = y.s.Push(Push{App: shop, Spec: PushSpec{Env: map[string]string{"A": "from the manifest"}}}, ann)
	y.refuses(changes, err, Conflict, "A, which is a secret of shop")
	y.pushed(shop, PushSpec{EnvDefaults: map[string]string{"A": "default"}})
	has(shop.Release(3), map[string]string{"A": "new", "B": "b", "C": "c"}, "A", "B")
	if made := set(EnvChange{Set: map[string]string{"C": "c"}, Secret: true}); made.N != 4 {
		t.Errorf("to make a secret of a variable made %s", made)
	}
	has(shop.Release(4), map[string]string{"A": "new", "B": "b", "C": "c"}, "A", "B", "C")
	y.finishRollout(shop)
	set(EnvChange{Unset: []string{"A", "B"}})
	has(shop.Release(5), map[string]string{"C": "c"}, "C")
	has(shop.Release(1), map[string]string{"A": "a", "B": "b", "C": "c"}, "A", "B")
}
