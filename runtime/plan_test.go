package runtime_test

import (
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestPlan reads a cloud and what is seen of it from each file of testdata/plan, and compares the plan.
// With UPDATE=1 in the environment it writes the plans anew.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			section := func(name string) string {
				for _, f := range archive.Files {
					if f.Name == name {
						return string(f.Data)
					}
				}
				return ""
			}
			v := readView(t, section("state"), section("seen"))
			steps, again := runtime.Plan(v, "n1", noon)
			got := showSteps(steps, again)
			if os.Getenv("UPDATE") != "" {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "plan" })
				archive.Files = append(archive.Files, txtar.File{Name: "plan", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := section("plan"); got != want {
				t.Errorf("%splan:\n%swant:\n%s", archive.Comment, got, want)
			}
		})
	}
}

// readView reads
//
//	app shop current=1 rollout=2 recreate released
//	release shop@r1 gen=0 web=2 worker=1 batch=2 surge=0 up staged warm stopped command volume recreate
//
// and
//
//	web.0@r1 ready gen=0
//	crashed web.0@r1 next=30s
func readView(t *testing.T, state, seen string) cloud.View {
	t.Helper()
	s := cloud.NewState()
	changes := s.Init(cloud.Stamp{At: noon})
	for line := range strings.Lines(state) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		ref, err := cloud.ParseRef(f[1], cloud.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		if f[0] == "app" {
			changes = append(changes, cloud.Put(readApp(t, ref, f[2:])))
		} else {
			changes = append(changes, cloud.Put(readRelease(t, ref, f[2:])))
		}
	}
	v := cloud.View{State: s.Apply(1, changes), Instances: cloud.NewInstances()}
	k := 0
	for line := range strings.Lines(seen) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if f[0] == "crashed" {
			c := &cloud.Crashes{Slot: readSlot(t, f[1]), Count: 4, Last: cloud.Exit{Code: 1, At: noon}}
			for _, word := range f[2:] {
				key, value, _ := strings.Cut(word, "=")
				switch key {
				case "next":
					d, err := time.ParseDuration(value)
					if err != nil {
						t.Fatal(err)
					}
					c.NextTry = noon.Add(d)
				case "gen":
					c.Generation = number(t, value)
				}
			}
			v.Instances = v.Instances.WithCrashes(c)
			continue
		}
		k++
		i := &cloud.Instance{ID: cloud.InstanceID(fmt.Sprintf("i%d", k)), Slot: readSlot(t, f[0]), Phase: cloud.InstancePhase(f[1]), Node: "n1"}
		if i.Process == cloud.Web {
			i.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(k)}), 8080)
		}
		for _, word := range f[2:] {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "gen":
				i.Generation = number(t, value)
			case "node":
				i.Node = cloud.NodeName(value)
			case "older":
				i.Of = noon.Add(-time.Hour)
			}
		}
		v.Instances = v.Instances.With(i)
	}
	return v
}

func readApp(t *testing.T, ref cloud.ReleaseRef, words []string) *cloud.App {
	app := &cloud.App{AppRef: ref.AppRef}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "current":
			app.Current = number(t, value)
		case "rollout":
			app.Rollout = &cloud.Rollout{To: number(t, value), Started: noon, Strategy: cloud.Strategy{Kind: cloud.Rolling}}
		case "recreate":
			app.Rollout.Strategy.Kind = cloud.Recreate
		case "released":
			app.Rollout.Released = true
		default:
			t.Fatalf("app has no %q", word)
		}
	}
	return app
}

func readRelease(t *testing.T, ref cloud.ReleaseRef, words []string) *cloud.Release {
	rel := &cloud.Release{ReleaseRef: ref, Created: noon, Since: noon, Formation: cloud.Formation{}, Spec: cloud.Spec{
		Strategy: cloud.Strategy{Kind: cloud.Rolling}, Processes: map[cloud.ProcessName]cloud.Process{},
	}}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "gen":
			rel.Generation = number(t, value)
		case "batch":
			rel.Spec.Strategy.Batch = number(t, value)
		case "surge":
			rel.Spec.Strategy.Surge = new(number(t, value))
		case "recreate":
			rel.Spec.Strategy.Kind = cloud.Recreate
		case "volume":
			rel.Spec.Volumes = []cloud.Volume{{Name: "data", Path: "/data"}}
		case "command":
			rel.Spec.Processes[cloud.ReleaseCommand] = cloud.Process{Command: "migrate"}
			rel.Formation[cloud.ReleaseCommand] = cloud.Scale{Instances: 1}
		case "up":
			rel.Up = true
		case "staged":
			rel.Staged = true
		case "stopped":
			rel.Stopped = true
		case "failed":
			rel.Failure = &cloud.Failure{Reason: "exited"}
		case "warm":
			at := noon.Add(time.Minute)
			rel.Warm = &at
		default:
			rel.Formation[cloud.ProcessName(key)] = cloud.Scale{Instances: number(t, value)}
			rel.Spec.Processes[cloud.ProcessName(key)] = cloud.Process{}
		}
	}
	return rel
}

// readSlot reads "web.0@r1", of app shop, or "blog/web.0@r1".
func readSlot(t *testing.T, s string) cloud.Slot {
	app, rest, other := strings.Cut(s, "/")
	if !other {
		app, rest = "shop", s
	}
	process, rest, _ := strings.Cut(rest, ".")
	index, release, _ := strings.Cut(rest, "@r")
	return cloud.Slot{
		ReleaseRef: cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(app)}.Release(number(t, release)),
		Process:    cloud.ProcessName(process), Index: number(t, index),
	}
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func showSteps(steps []runtime.Step, again time.Time) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s %s", s.Do, s.Slot)
		if s.Do == runtime.Start {
			fmt.Fprintf(&b, " gen=%d", s.Generation)
		} else {
			fmt.Fprintf(&b, " %s", s.ID)
		}
		if s.Linger {
			b.WriteString(" linger")
		}
		b.WriteByte('\n')
	}
	if !again.IsZero() {
		fmt.Fprintf(&b, "again in %s\n", again.Sub(noon))
	}
	return b.String()
}

// sim carries out plans in a random order and pace, as agents do.
type sim struct {
	v    cloud.View
	next int
	rnd  *rand.Rand
	// trouble is how many instances become unwell or end by themselves yet.
	trouble int
}

// do begins a step: what it begins is seen at once.
func (m *sim) do(s runtime.Step) {
	switch s.Do {
	case runtime.Start:
		m.next++
		m.v.Instances = m.v.Instances.With(&cloud.Instance{
			ID: cloud.InstanceID(fmt.Sprintf("i%04d", m.next)), Slot: s.Slot, Generation: s.Generation, Of: s.Of, Node: "n1", Phase: cloud.InstanceStarting,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(m.next >> 8), byte(m.next)}), 8080),
		})
	case runtime.Drain:
		m.phase(s.ID, cloud.InstanceDraining)
	case runtime.Remove:
		m.v.Instances = m.v.Instances.Without(s.ID)
	}
}

func (m *sim) phase(id cloud.InstanceID, p cloud.InstancePhase) {
	if i, ok := m.v.Instances.Get(id); ok {
		next := *i
		next.Phase = p
		m.v.Instances = m.v.Instances.With(&next)
	}
}

// move lets some instance come further on its way; false where none is on one.
func (m *sim) move() bool {
	if all := slices.Collect(m.v.Instances.All()); m.trouble > 0 && len(all) > 0 {
		m.trouble--
		if i := all[m.rnd.Intn(len(all))]; i.Phase.Live() {
			m.phase(i.ID, []cloud.InstancePhase{cloud.InstanceUnready, cloud.InstanceExited}[m.rnd.Intn(2)])
		}
		return true
	}
	var on []*cloud.Instance
	for i := range m.v.Instances.All() {
		if i.Phase != cloud.InstanceReady && i.Phase != cloud.InstanceExited {
			on = append(on, i)
		}
	}
	if len(on) == 0 {
		return false
	}
	switch i := on[m.rnd.Intn(len(on))]; i.Phase {
	case cloud.InstanceStarting, cloud.InstanceUnready:
		m.phase(i.ID, cloud.InstanceReady)
	case cloud.InstanceDraining:
		m.phase(i.ID, cloud.InstanceStopping)
	case cloud.InstanceStopping:
		m.v.Instances = m.v.Instances.Without(i.ID)
	case cloud.InstanceReady, cloud.InstanceExited:
	}
	return true
}

// decide writes what Advance decides.
func (m *sim) decide() {
	decisions, _ := runtime.Advance(m.v, noon)
	for _, d := range decisions {
		m.v.State = m.v.State.Apply(m.v.State.Rev()+1, d.Apply(m.v.State, leader.DefaultWarm, cloud.Stamp{At: noon, By: "micro"}))
	}
}

func (m *sim) write(changes []cloud.Change) {
	if len(changes) > 0 {
		m.v.State = m.v.State.Apply(m.v.State.Rev()+1, changes)
	}
}

// quiet carries out plans until there is nothing to do, and has check look after every step.
func (m *sim) quiet(r *rapid.T, check func(before cloud.View, s runtime.Step)) {
	for range 5000 {
		m.decide()
		steps, _ := runtime.Plan(m.v, "n1", noon)
		m.rnd.Shuffle(len(steps), func(a, b int) { steps[a], steps[b] = steps[b], steps[a] })
		for _, s := range steps {
			before := m.v
			m.do(s)
			check(before, s)
		}
		if again, _ := runtime.Plan(m.v, "n1", noon); len(again) > 0 {
			r.Fatalf("with all steps under way there is more to do:\n%s", showSteps(again, time.Time{}))
		}
		if !m.move() && len(steps) == 0 {
			return
		}
	}
	r.Fatal("it never ends")
}

// randomSim has an app with a current release that is wholly up, and asks for something else of it.
func randomSim(r *rapid.T, kind cloud.StrategyKind) (m *sim, ask func()) {
	m = &sim{v: cloud.NewView(), rnd: rand.New(rand.NewSource(rapid.Int64().Draw(r, "seed")))}
	at := cloud.Stamp{At: noon, By: "ann"}
	m.write(m.v.State.Init(at))
	draft := func() cloud.PushSpec {
		strategy := cloud.Strategy{Kind: kind, Batch: rapid.IntRange(0, 3).Draw(r, "batch")}
		if surge := rapid.IntRange(-1, 2).Draw(r, "surge"); surge >= 0 && kind != cloud.Recreate {
			strategy.Surge = &surge
		}
		return cloud.PushSpec{
			Strategy: &strategy,
			Processes: map[cloud.ProcessName]cloud.ProcessSpec{
				cloud.Web: {Instances: new(rapid.IntRange(1, 6).Draw(r, "web"))},
				"worker":  {Instances: new(rapid.IntRange(0, 3).Draw(r, "worker"))},
			},
		}
	}
	push := func() {
		changes, _, err := m.v.State.Push(cloud.Push{App: shop, Spec: draft()}, at)
		if err != nil {
			r.Fatal(err)
		}
		m.write(changes)
	}
	push()
	m.quiet(r, func(cloud.View, runtime.Step) {})
	if app, _ := m.v.State.App(shop); app.Current != 1 {
		r.Fatalf("not current: %+v", app)
	}
	return m, func() {
		var changes []cloud.Change
		switch rapid.IntRange(0, 4).Draw(r, "ask") {
		case 0:
			push()
		case 1:
			changes, _ = m.v.State.Restart(shop.Release(0))
		case 2:
			changes, _ = m.v.State.Scale(shop.Release(0), draft().Processes)
		case 3:
			changes, _ = m.v.State.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Memory: new(int64(64 << 20))}})
		case 4:
			changes, _, _ = m.v.State.Rollback(shop, 0, at)
		}
		m.write(changes)
	}
}

func readyOf(v cloud.View, r cloud.ReleaseRef) int {
	n := 0
	for i := range v.Instances.OfRelease(r) {
		if i.Process == cloud.Web && i.Phase == cloud.InstanceReady {
			n++
		}
	}
	return n
}

// least is how many ready instances of n a roll in place leaves at any time.
func least(s cloud.Strategy, n int) int {
	if s.Surge == nil || *s.Surge > 0 || n <= 1 {
		return n
	}
	return max(1, n-max(1, s.Batch))
}

// withinSurge checks that a start leaves no more instances than the release's surge allows.
func withinSurge(r *rapid.T, v cloud.View, s runtime.Step) {
	rel, ok := v.State.Release(s.Slot.ReleaseRef)
	if s.Do != runtime.Start || !ok || rel.Spec.Strategy.Surge == nil {
		return
	}
	count := rel.Formation[s.Slot.Process].Instances
	most := count + *rel.Spec.Strategy.Surge
	if count == 1 {
		most = max(most, 2)
	}
	exist := 1
	for i := range v.Instances.OfRelease(rel.ReleaseRef) {
		if i.Process == s.Slot.Process && i.Index < count && i.Phase != cloud.InstanceExited && (i.Phase.Live() || i.Generation < rel.Generation) {
			exist++
		}
	}
	if exist > most {
		r.Fatalf("%s is number %d of %s %s, at most %d may be", s.Slot, exist, rel.ReleaseRef, s.Slot.Process, most)
	}
}

// Whatever is asked for, plans end; what serves never falls below the smaller of what was and what is
// wanted, but by what a surge of 0 takes down first; and no more run than the surge allows.
func TestPlansEndAndKeepServing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, ask := randomSim(r, rapid.SampledFrom([]cloud.StrategyKind{cloud.Rolling, cloud.Cutover}).Draw(r, "strategy"))
		for range rapid.IntRange(1, 3).Draw(r, "asks") {
			app, _ := m.v.State.App(shop)
			was := readyOf(m.v, app.Release(app.Current))
			ask()
			m.quiet(r, func(before cloud.View, s runtime.Step) {
				app, _ := m.v.State.App(shop)
				cur, _ := m.v.State.Release(app.Release(app.Current))
				floor := min(was, least(cur.Spec.Strategy, cur.Formation[cloud.Web].Instances))
				withinSurge(r, before, s)
				if got := readyOf(m.v, cur.ReleaseRef); s.Do == runtime.Drain && s.Slot.ReleaseRef == cur.ReleaseRef && got < floor {
					r.Fatalf("%s leaves %d ready of %s, want %d", s.ID, got, cur.ReleaseRef, floor)
				}
			})
		}
		for rel := range m.v.State.Releases(shop) {
			wanted := m.v.State.Wanted(rel)
			for name := range rel.Formation {
				got := 0
				for i := range m.v.Instances.OfRelease(rel.ReleaseRef) {
					if i.Process == name && i.Phase == cloud.InstanceReady && i.Generation == rel.Generation {
						got++
					}
				}
				want := 0
				if m.v.State.Runs(rel) {
					want = wanted[name].Instances
				}
				if got != want {
					r.Fatalf("%d of %s %s run in the end, want %d", got, rel.ReleaseRef, name, want)
				}
			}
		}
	})
}

// Whatever becomes unwell or ends by itself on the way, it comes to its end.
func TestPlansEndInTrouble(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, ask := randomSim(r, rapid.SampledFrom([]cloud.StrategyKind{cloud.Rolling, cloud.Cutover}).Draw(r, "strategy"))
		for range rapid.IntRange(1, 3).Draw(r, "asks") {
			ask()
			m.trouble = rapid.IntRange(0, 10).Draw(r, "trouble")
			m.quiet(r, func(before cloud.View, s runtime.Step) { withinSurge(r, before, s) })
		}
		app, _ := m.v.State.App(shop)
		cur, _ := m.v.State.Release(app.Release(app.Current))
		if got, want := readyOf(m.v, cur.ReleaseRef), cur.Formation[cloud.Web].Instances; got != want {
			r.Fatalf("%d of %s are ready in the end, want %d", got, cur.ReleaseRef, want)
		}
	})
}

// With recreate no instance of a release starts while one of another is there.
func TestRecreateIsAlone(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, ask := randomSim(r, cloud.Recreate)
		for range rapid.IntRange(1, 3).Draw(r, "asks") {
			ask()
			for range rapid.IntRange(0, 5).Draw(r, "moves") { // the next is asked for half way
				m.decide()
				steps, _ := runtime.Plan(m.v, "n1", noon)
				for _, s := range steps {
					alone(r, m.v, s)
					m.do(s)
				}
				m.move()
			}
		}
		m.quiet(r, func(before cloud.View, s runtime.Step) { alone(r, before, s) })
	})
}

func alone(r *rapid.T, v cloud.View, s runtime.Step) {
	if s.Do != runtime.Start {
		return
	}
	for i := range v.Instances.All() {
		if i.ReleaseRef != s.Slot.ReleaseRef && i.Phase != cloud.InstanceExited || i.Slot == s.Slot && i.Phase != cloud.InstanceExited {
			r.Fatalf("%s starts while %s of %s is %s", s.Slot, i.ID, i.Slot, i.Phase)
		}
	}
}

// The order in which instances were seen changes nothing.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m, ask := randomSim(r, cloud.Rolling)
		ask()
		var all []*cloud.Instance
		for i := range m.v.Instances.All() {
			next := *i
			next.Phase = rapid.SampledFrom(cloud.InstancePhases()).Draw(r, "phase")
			all = append(all, &next)
		}
		var plans []string
		for range 2 {
			o := cloud.NewInstances()
			for _, i := range all {
				o = o.With(i)
			}
			plans = append(plans, showSteps(runtime.Plan(cloud.View{State: m.v.State, Instances: o}, "n1", noon)))
			m.rnd.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
		}
		if plans[0] != plans[1] {
			r.Fatalf("one is\n%sthe other\n%s", plans[0], plans[1])
		}
	})
}

func BenchmarkPlanOf1000(b *testing.B) {
	v := cloud.NewView()
	v.State = v.State.Apply(1, v.State.Init(cloud.Stamp{At: noon}))
	for k := range 100 {
		app := cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(fmt.Sprintf("app-%d", k))}
		rel := &cloud.Release{ReleaseRef: app.Release(1), Up: true, Formation: cloud.Formation{cloud.Web: {Instances: 10}}}
		v.State = v.State.Apply(v.State.Rev()+1, []cloud.Change{cloud.Put(&cloud.App{AppRef: app, Current: 1}), cloud.Put(rel)})
		for index := range 10 {
			v.Instances = v.Instances.With(&cloud.Instance{
				ID: cloud.InstanceID(fmt.Sprintf("%s-%d", app.App, index)), Slot: cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: cloud.Web, Index: index},
				Phase: cloud.InstanceReady, Node: "n1",
			})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if steps, _ := runtime.Plan(v, "n1", noon); len(steps) > 0 {
			b.Fatal(steps)
		}
	}
}
