package cloud

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// randomly has verbs tell a state what to do, refusals apart, and hands every step to see.
func randomly(r *rapid.T, steps int, see func(before, after View, changes []Change)) View {
	v := NewView()
	now := noon
	apply := func(changes []Change) {
		if len(changes) == 0 {
			return
		}
		next := View{v.State.Apply(v.State.Rev()+1, changes), v.Instances}
		see(v, next, changes)
		v = next
	}
	apply(v.State.Init(ann))
	apps := []AppRef{shop, blog}
	hosts := []Host{"a.example.com", "b.example.com", "c.example.com"}
	for range steps {
		now = now.Add(time.Minute)
		at, s := Stamp{At: now, By: "ann"}, v.State
		app := rapid.SampledFrom(apps).Draw(r, "app")
		ref := app.Release(rapid.IntRange(0, 4).Draw(r, "n"))
		host := rapid.SampledFrom(hosts).Draw(r, "host")
		var changes []Change
		switch verb := rapid.IntRange(0, 15).Draw(r, "verb"); verb {
		case 0, 1:
			d := instances(rapid.IntRange(0, 3).Draw(r, "instances"))
			if rapid.Bool().Draw(r, "routed") {
				d.Routes = []RouteSpec{{Host: host, Path: "/"}}
			}
			changes, _, _ = s.Push(Push{App: app, Spec: d, Stage: rapid.Bool().Draw(r, "stage"), ID: "id"}, at)
		case 2:
			changes = s.FinishRollout(app, now.Add(10*time.Minute), at)
		case 3:
			changes = s.Fail(ref, Failure{At: now, Reason: "exited", Lines: []string{"a"}})
		case 4:
			changes, _ = s.Promote(ref, rapid.Bool().Draw(r, "force"), at)
		case 5:
			changes, _, _ = s.Rollback(app, ref.N, at)
		case 6:
			changes, _, _ = s.Env(ref, EnvChange{Set: map[string]string{"A": "1"}}, at)
		case 7:
			changes, _ = s.Scale(ref, map[ProcessName]ProcessSpec{Web: {Instances: new(rapid.IntRange(0, 3).Draw(r, "instances"))}}, false)
		case 8:
			changes, _ = s.Restart(ref)
		case 9:
			changes, _ = s.Stop(ref, false)
		case 10:
			changes, _ = s.Start(ref, at)
		case 11:
			if rapid.IntRange(0, 3).Draw(r, "really") == 0 {
				changes, _ = s.Delete(ref)
			}
		case 12:
			changes, _ = s.Map(Map{Host: host, Path: "/", Target: Target{ReleaseRef: ref, Weighted: rapid.Bool().Draw(r, "weighted"), Weight: rapid.IntRange(0, 100).Draw(r, "weight")}}, at)
		case 13:
			changes, _ = s.Unmap(host, "/", ref, true)
		case 14:
			changes, _ = s.Swap(host, rapid.SampledFrom(hosts).Draw(r, "other"), false)
		default:
			changes = s.Cool(shop, at)
			i := &Instance{ID: InstanceID(fmt.Sprintf("i%d", rapid.IntRange(0, 5).Draw(r, "id"))), Slot: Slot{ref, Web, 0}, Phase: InstanceReady, Addr: netip.MustParseAddrPort("10.0.0.1:80")}
			next := View{s, v.Instances.Without(i.ID).With(i)}
			see(v, next, nil)
			v = next
		}
		apply(changes)
	}
	return v
}

// What is stored is all there is: a state made anew from what its changes are encoded to is the same.
func TestStateIsItsChanges(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		stored := map[Key][]byte{}
		last := randomly(r, 40, func(_, _ View, changes []Change) {
			for _, c := range changes {
				b, err := c.Encode()
				if err != nil {
					r.Fatal(err)
				}
				back, err := DecodeChange(c.Key, b)
				if err != nil {
					r.Fatal(err)
				}
				if again, err := back.Encode(); err != nil || string(again) != string(b) {
					r.Fatalf("%s came back as %s, %v", b, again, err)
				}
				if stored[c.Key] = b; b == nil {
					delete(stored, c.Key)
				}
			}
		})
		var changes []Change
		for k, b := range stored {
			c, err := DecodeChange(k, b)
			if err != nil {
				r.Fatal(err)
			}
			changes = append(changes, c)
		}
		again := NewState().Apply(last.State.Rev(), changes)
		if dump(again) != dump(last.State) {
			r.Fatalf("stored:\n%s\nwas:\n%s", dump(again), dump(last.State))
		}
		for _, app := range []AppRef{shop, blog} {
			var a, b []Host
			for vhost := range again.HostsOf(app) {
				a = append(a, vhost.Host)
			}
			for vhost := range last.State.HostsOf(app) {
				b = append(b, vhost.Host)
			}
			if !slices.Equal(a, b) {
				r.Fatalf("%s is at %v, was at %v", app, a, b)
			}
		}
	})
}

// What Touched does not name is the same in both views, whether the app or the host is new, changed or gone.
func TestWhatIsNotTouchedIsTheSame(t *testing.T) {
	compared := 0 // pairs of different views for which Touched knows the difference
	rapid.Check(t, func(r *rapid.T) {
		views := []View{NewView()}
		randomly(r, 40, func(_, after View, _ []Change) { views = append(views, after) })
		from := rapid.IntRange(0, len(views)-1).Draw(r, "from")
		to := rapid.IntRange(from, len(views)-1).Draw(r, "to")
		old, now := views[from], views[to]
		apps, hosts, ok := now.Touched(old)
		if !ok {
			return
		}
		if from != to {
			compared++
		}
		for _, app := range []AppRef{shop, blog} {
			if !apps[app] && seen(old, app) != seen(now, app) {
				r.Fatalf("%s is not touched:\n%s\nand is\n%s", app, seen(old, app), seen(now, app))
			}
		}
		for _, h := range []Host{"a.example.com", "b.example.com", "c.example.com"} {
			if !hosts[h] && reached(old, h) != reached(now, h) {
				r.Fatalf("%s is not touched:\n%s\nand is\n%s", h, reached(old, h), reached(now, h))
			}
		}
	})
	if compared == 0 {
		t.Error("Touched knew the difference of no two views")
	}
}

// seen is all that anybody can compile from an app.
func seen(v View, r AppRef) string {
	var all []any
	if app, ok := v.State.App(r); ok {
		all = append(all, app, v.Serving(app))
	}
	for rel := range v.State.Releases(r) {
		all = append(all, rel, v.State.PhaseOf(rel), v.Pool(rel.ReleaseRef))
	}
	for i := range v.Instances.OfApp(r) {
		all = append(all, i)
	}
	b, _ := json.Marshal(all)
	return string(b)
}

// reached is all that anybody can compile from a host: what serves of the apps that it routes to, and the
// instances of the releases that it names. What else there is of them is not the host's business.
func reached(v View, h Host) string {
	vhost, ok := v.State.VirtualHost(h)
	if !ok {
		return "unknown"
	}
	all := []any{vhost}
	named := func(r ReleaseRef) {
		rel, ok := v.State.Release(r)
		all = append(all, ok, v.Pool(r))
		if ok {
			all = append(all, rel, v.Pool(rel.ReleaseRef))
		}
	}
	for ref := range vhost.Apps() {
		if app, ok := v.State.App(ref); ok {
			all = append(all, v.Serving(app))
		}
	}
	for _, route := range vhost.Routes {
		for _, t := range route.Targets {
			named(t.ReleaseRef)
		}
		if route.Mirror != nil {
			named(route.Mirror.To)
		}
	}
	b, _ := json.Marshal(all)
	return string(b)
}

func TestChangeLogForgetsAndForks(t *testing.T) {
	s := begin(t).s
	first := s
	for range changeLogSteps {
		s = s.Apply(s.Rev()+1, []Change{Put(&App{AppRef: shop})})
	}
	if keys, ok := s.Since(first); !ok || len(keys) != changeLogSteps {
		t.Errorf("%d keys, %v", len(keys), ok)
	}
	s = s.Apply(s.Rev()+1, []Change{Put(&App{AppRef: shop})})
	if _, ok := s.Since(first); ok {
		t.Error("it remembers what it has dropped")
	}
	if _, ok := first.Since(s); ok {
		t.Error("an older state knows what came later")
	}
	if _, ok := s.Since(nil); ok {
		t.Error("it knows what came since nothing")
	}
	// Two states that grow from one do not share what they remember.
	a, b := first.Apply(9, []Change{Put(&App{AppRef: shop})}), first.Apply(9, []Change{Put(&App{AppRef: blog})})
	if keys, _ := a.Since(first); !slices.Equal(keys, []Key{"apps/default/shop"}) {
		t.Errorf("since is %v", keys)
	}
	if keys, _ := b.Since(first); !slices.Equal(keys, []Key{"apps/default/blog"}) {
		t.Errorf("since is %v", keys)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ key, value string }{
		{"apps/default/shop", "{"}, {"apps/default/shop", `{"group":"default","app":"blog"}`}, {"releases/default/shop/00000001", `{"group":"default","app":"shop","n":2}`},
	} {
		if got, err := DecodeChange(Key(c.key), []byte(c.value)); CodeOf(err) != Internal {
			t.Errorf("%s %s is accepted as %+v", c.key, c.value, got)
		}
	}
}

// An object of a kind that a newer micro wrote stays byte for byte as it is, and changes nothing that is known.
func TestUnknownKindIsKept(t *testing.T) {
	const key, value = "later/default/x", `{"b": 1,  "a<": 2}`
	c, err := DecodeChange(key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := c.Object.(*Unknown); !ok || u.Key() != key {
		t.Fatalf("decoded as %#v", c.Object)
	}
	y := begin(t)
	y.pushed(shop, PushSpec{})
	old := View{y.s, NewInstances()}
	y.s = y.s.Apply(y.s.Rev()+1, []Change{c})
	if apps, hosts, ok := (View{y.s, old.Instances}).Touched(old); !ok || len(apps)+len(hosts) > 0 {
		t.Errorf("it touches %v, %v, %v", apps, hosts, ok)
	}
	found := 0
	for k, o := range y.s.Objects() {
		if k != key {
			continue
		}
		if b, err := Put(o).Encode(); err != nil || string(b) != value {
			t.Errorf("it came back as %s, %v", b, err)
		}
		found++
	}
	if found != 1 {
		t.Errorf("found %d times", found)
	}
	gone, err := DecodeChange(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k := range y.s.Apply(y.s.Rev()+1, []Change{gone}).Objects() {
		if k == key {
			t.Error("it was deleted, and is there")
		}
	}
}

// Every kind decodes under its own prefix what it encodes.
func TestKinds(t *testing.T) {
	for prefix, empty := range kinds {
		if got := empty().Key().Kind(); got != prefix {
			t.Errorf("the kind %q keeps its objects under %q", prefix, got)
		}
	}
}

// many is a state with so many apps, each with a release and a host.
func many(n int) *State {
	var changes []Change
	for k := range n {
		ref := AppRef{DefaultGroup, AppName(fmt.Sprintf("app-%d", k))}
		rel := &Release{ReleaseRef: ref.Release(1), Up: true, Formation: Formation{Web: {Instances: 1, Memory: DefaultMemory}}}
		vhost := &VirtualHost{Host: Host(fmt.Sprintf("h%d.example.com", k)), Group: DefaultGroup, Routes: []Route{{Path: "/", Targets: []Target{{ReleaseRef: ref.Release(0)}}}}}
		changes = append(changes, Put(&App{AppRef: ref, Current: 1, Last: 1}), Put(rel), Put(vhost))
	}
	return NewState().Apply(1, changes)
}

func BenchmarkApplyOneOf10000(b *testing.B) {
	s := many(10_000)
	app, _ := s.App(AppRef{DefaultGroup, "app-5000"})
	b.ReportAllocs()
	for b.Loop() {
		s = s.Apply(s.Rev()+1, []Change{Put(app)})
	}
}

func BenchmarkTouched(b *testing.B) {
	old := View{many(10_000), NewInstances()}
	app, _ := old.State.App(AppRef{DefaultGroup, "app-5000"})
	now := View{old.State.Apply(2, []Change{Put(app)}), old.Instances}
	b.ReportAllocs()
	for b.Loop() {
		if apps, _, ok := now.Touched(old); !ok || len(apps) != 1 {
			b.Fatal(apps, ok)
		}
	}
}
