package leader_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
)

func rolling(r *rapid.T) cloud.StrategyKind {
	return rapid.SampledFrom([]cloud.StrategyKind{cloud.Rolling, cloud.Cutover}).Draw(r, "strategy")
}

func readyOf(o *cloud.Instances, r cloud.ReleaseRef) int {
	n := 0
	for i := range o.OfRelease(r) {
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
func (m *sim) withinSurge(s runtime.Step) {
	rel, ok := m.state.Release(s.Slot.ReleaseRef)
	if s.Do != runtime.Start || !ok || rel.Spec.Strategy.Surge == nil {
		return
	}
	count := rel.Formation[s.Slot.Process].Instances
	most := count + *rel.Spec.Strategy.Surge
	if count == 1 {
		most = max(most, 2)
	}
	exist := 1
	for i := range m.runs.OfRelease(rel.ReleaseRef) {
		if i.Process == s.Slot.Process && i.Index < count && i.Phase != cloud.InstanceExited && (i.Phase.Live() || i.Generation < rel.Generation) {
			exist++
		}
	}
	if exist > most {
		m.Fatalf("%s is number %d of %s %s, at most %d may be", s.Slot, exist, rel.ReleaseRef, s.Slot.Process, most)
	}
}

// Whatever is asked for, it comes to an end; what serves never falls below the smaller of what was and what
// is wanted, but by what a surge of 0 takes down first; and no more run than the surge allows.
func TestKeepsServing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		kind := rolling(r)
		m := newSim(r, clouds(r)...).pushed(kind)
		for range rapid.IntRange(1, 3).Draw(r, "asks") {
			app, _ := m.state.App(shop)
			was := readyOf(m.runs, app.Release(app.Current))
			m.check = func(_ *simNode, s runtime.Step) {
				app, _ := m.state.App(shop)
				cur, _ := m.state.Release(app.Release(app.Current))
				floor := min(was, least(cur.Spec.Strategy, cur.Formation[cloud.Web].Instances))
				m.withinSurge(s)
				if s.Do != runtime.Drain || s.Slot.ReleaseRef != cur.ReleaseRef {
					return
				}
				ready := readyOf(m.runs, cur.ReleaseRef)
				if i, _ := m.runs.Get(s.ID); i.Process == cloud.Web && i.Phase == cloud.InstanceReady {
					ready--
				}
				if ready < floor {
					r.Fatalf("the end of %s leaves %d ready of %s, want %d", s.ID, ready, cur.ReleaseRef, floor)
				}
			}
			m.ask(kind, toGoOn)
			for range rapid.IntRange(0, 20).Draw(r, "steps") {
				m.step()
			}
			m.quiet()
		}
		m.right()
	})
}

// Whatever becomes unwell or ends by itself on the way, it comes to its end.
func TestComesToAnEndInTrouble(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		kind := rolling(r)
		m := newSim(r, clouds(r)...).pushed(kind)
		m.check = func(_ *simNode, s runtime.Step) { m.withinSurge(s) }
		for range rapid.IntRange(1, 3).Draw(r, "asks") {
			m.ask(kind, toGoOn)
			m.trouble = rapid.IntRange(0, 10).Draw(r, "trouble")
			m.quiet()
		}
		m.right()
	})
}

// alone checks that a start finds nothing of another release, nor of its own slot, on any node.
func (m *sim) alone(s runtime.Step) {
	if s.Do != runtime.Start {
		return
	}
	for i := range m.runs.OfApp(shop) {
		if (i.ReleaseRef != s.Slot.ReleaseRef || i.Slot == s.Slot) && i.Phase != cloud.InstanceExited {
			m.Fatalf("%s starts while %s of %s is %s on %s", s.Slot, i.ID, i.Slot, i.Phase, i.Node)
		}
	}
}

// With recreate no instance of a release starts while one of another is there, nor while one of its own slot
// is: whatever is asked for, and however long nodes take to hear of it.
func TestRecreateIsAlone(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...).pushed(cloud.Recreate)
		m.check = func(_ *simNode, s runtime.Step) { m.alone(s) }
		for range rapid.IntRange(1, 3).Draw(r, "asks") {
			m.ask(cloud.Recreate, anything)
			for range rapid.IntRange(0, 30).Draw(r, "steps") { // the next is asked for half way
				m.step()
			}
		}
		m.quiet()
		m.right()
	})
}

// The same while nodes lose their power, are cut off, come back, are emptied and join.
func TestRecreateIsAloneWhateverNodesDo(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...).pushed(cloud.Recreate)
		m.check = func(_ *simNode, s runtime.Step) { m.alone(s) }
		m.shake(cloud.Recreate)
		m.quiet()
		m.right()
	})
}

// shake lets things happen to nodes, between requests and steps.
func (m *sim) shake(kind cloud.StrategyKind) {
	for range rapid.IntRange(1, 6).Draw(m.T, "events") {
		n := m.nodes[rapid.IntRange(0, len(m.nodes)-1).Draw(m.T, "node")]
		switch rapid.IntRange(0, 6).Draw(m.T, "event") {
		case 0:
			m.ask(kind, anything)
		case 1:
			m.powerOff(n)
		case 2:
			n.away = true
		case 3:
			if n.away {
				m.expire(n)
			}
		case 4:
			m.heal(n)
		case 5:
			node, _ := m.state.Node(n.name)
			next := *node
			next.Drain = !next.Drain
			m.write([]cloud.Change{cloud.Put(&next)})
		case 6:
			m.join(cloud.Node{Name: cloud.NodeName(fmt.Sprintf("n%d", len(m.nodes)+1))})
		}
		for range rapid.IntRange(0, 30).Draw(m.T, "steps") {
			m.step()
		}
	}
	for _, n := range m.nodes {
		m.heal(n)
		node, _ := m.state.Node(n.name)
		next := *node
		next.Drain = false
		m.write([]cloud.Change{cloud.Put(&next)})
	}
}

// Whatever nodes do, what is to run runs in the end.
func TestComesToAnEndWhateverNodesDo(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		kind := rolling(r)
		m := newSim(r, clouds(r)...).pushed(kind)
		m.shake(kind)
		m.quiet()
		m.right()
	})
}

// A first push is spread as evenly as it can be: zones differ by one instance at most, and so do the nodes
// of a zone.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...)
		spec := m.draft(cloud.Rolling)
		spec.Processes[cloud.Web] = cloud.ProcessSpec{Instances: new(rapid.IntRange(1, 40).Draw(r, "web"))}
		m.push(spec)
		m.quiet()
		for _, process := range []cloud.ProcessName{cloud.Web, "worker"} {
			zones, nodes := map[string]int{}, map[string]map[cloud.NodeName]int{}
			for n := range m.state.Nodes() {
				zone := n.Labels[cloud.ZoneLabel]
				zones[zone] += 0
				if nodes[zone] == nil {
					nodes[zone] = map[cloud.NodeName]int{}
				}
				nodes[zone][n.Name] = 0
			}
			for i := range m.runs.OfRelease(shop.Release(1)) {
				if n, _ := m.state.Node(i.Node); i.Process == process {
					zones[n.Labels[cloud.ZoneLabel]]++
					nodes[n.Labels[cloud.ZoneLabel]][i.Node]++
				}
			}
			even(r, "zones", zones)
			for zone, counts := range nodes {
				even(r, "nodes of "+zone, counts)
			}
		}
	})
}

func even[K comparable](r *rapid.T, what string, counts map[K]int) {
	all := slices.Sorted(maps.Values(counts))
	if all[len(all)-1]-all[0] > 1 {
		r.Fatalf("%s have %v", what, counts)
	}
}

// A node that joins moves nothing, nor does one that is back. One that is lost, or to be emptied, moves what
// it had and nothing else.
func TestStability(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...).pushed(rolling(r))
		before := placesOf(m.state)
		m.join(cloud.Node{Name: "new"})
		m.quiet()
		sameBut(r, before, placesOf(m.state), "")

		n := m.nodes[rapid.IntRange(0, len(m.nodes)-1).Draw(r, "lost")]
		if rapid.Bool().Draw(r, "emptied") {
			node, _ := m.state.Node(n.name)
			next := *node
			next.Drain = true
			m.write([]cloud.Change{cloud.Put(&next)})
		} else {
			m.powerOff(n)
			m.expire(n)
		}
		m.quiet()
		after := placesOf(m.state)
		sameBut(r, before, after, n.name)
		for slot, p := range after {
			if p.Node == n.name {
				r.Fatalf("%s is still on %s", slot, n.name)
			}
		}
		m.heal(n)
		m.quiet()
		sameBut(r, after, placesOf(m.state), "")
		m.right()
	})
}

// placesOf returns the place of each slot.
func placesOf(s *cloud.State) map[cloud.Slot]cloud.Place {
	places := map[cloud.Slot]cloud.Place{}
	for a := range s.AllAssignments() {
		for _, p := range a.Places {
			places[a.Slot(p)] = p
		}
	}
	return places
}

// sameBut checks that slots are where they were, those of a node apart.
func sameBut(r *rapid.T, before, after map[cloud.Slot]cloud.Place, lost cloud.NodeName) {
	if len(before) != len(after) {
		r.Fatalf("%d places have become %d", len(before), len(after))
	}
	for slot, p := range before {
		if p.Node != lost && after[slot] != p {
			r.Fatalf("%s was %+v and is %+v", slot, p, after[slot])
		}
	}
}

// Volumes stay where they are, and so does what uses them: whatever is asked for, and whatever nodes do.
func TestVolumesStickToTheirNode(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...)
		spec := m.draft(cloud.Recreate)
		spec.Volumes = []cloud.Volume{{Name: "data", Path: "/data", Shared: true}}
		m.push(spec)
		m.quiet()
		home, ok := m.state.Home(shop)
		if !ok {
			r.Fatal("nobody knows where the volume is")
		}
		m.check = func(n *simNode, s runtime.Step) {
			m.alone(s)
			if s.Do == runtime.Start && n.name != home.Node {
				r.Fatalf("%s starts on %s, its volume is on %s", s.Slot, n.name, home.Node)
			}
		}
		m.shake(cloud.Recreate)
		m.quiet()
		m.right()
		changes, err := m.state.Delete(shop.Release(0))
		if err != nil {
			r.Fatal(err)
		}
		m.write(changes)
		m.quiet()
		if _, ok := m.state.Home(shop); ok || len(placesOf(m.state)) > 0 || m.runs.Len() > 0 {
			r.Fatalf("of what was deleted is left: %v %v, %d instances", ok, placesOf(m.state), m.runs.Len())
		}
	})
}

// However full nodes are, none gets more than it has room for (sim.apply checks it), and what has room runs.
func TestCapacity(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var nodes []cloud.Node
		room := 0
		for k := range rapid.IntRange(1, 4).Draw(r, "nodes") {
			slots := rapid.IntRange(0, 5).Draw(r, "room")
			room += slots
			// A little more than fits in whole instances; 0 would be no bound.
			memory := int64(slots)<<29 + 1
			nodes = append(nodes, cloud.Node{Name: cloud.NodeName(fmt.Sprintf("n%d", k+1)), Capacity: cloud.Capacity{Memory: memory}})
		}
		m := newSim(r, nodes...)
		spec := m.draft(cloud.Rolling)
		m.push(spec)
		m.quiet()
		want := min(room, *spec.Processes[cloud.Web].Instances+*spec.Processes["worker"].Instances)
		if got := m.runs.Len(); got != want {
			r.Fatalf("%d instances run, %d have room", got, want)
		}
		waits := len(slices.Collect(m.state.WaitingAssignments())) > 0
		if all := *spec.Processes[cloud.Web].Instances + *spec.Processes["worker"].Instances; waits != (all > room) {
			r.Fatalf("of %d instances %d have room; that some wait is %v", all, room, waits)
		}
		m.join(cloud.Node{Name: "new"})
		m.quiet()
		m.right()
		for range rapid.IntRange(0, 3).Draw(r, "asks") {
			m.ask(cloud.Rolling, anything)
			m.quiet()
		}
		m.right()
	})
}

// Instances run on nodes with the labels that their release asks for and on no others, whatever nodes do.
func TestPlaceByLabels(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...)
		zones := map[string]bool{}
		for n := range m.state.Nodes() {
			zones[n.Labels[cloud.ZoneLabel]] = true
		}
		kind := rolling(r)
		spec := m.draft(kind)
		spec.Place = map[string]string{cloud.ZoneLabel: rapid.SampledFrom(slices.Sorted(maps.Keys(zones))).Draw(r, "place")}
		m.check = func(n *simNode, s runtime.Step) {
			node, _ := m.state.Node(n.name)
			rel, _ := m.state.Release(s.Slot.ReleaseRef)
			if s.Do == runtime.Start && !node.HasLabels(rel.Spec.Place) {
				r.Fatalf("%s starts on %s, which has the labels %v, not %v", s.Slot, n.name, node.Labels, rel.Spec.Place)
			}
		}
		m.push(spec)
		m.quiet()
		m.shake(kind)
		m.quiet()
		m.right()
	})
}

// Of what must not run twice, the one that has the right to run has the highest token there ever was.
func TestTokensRise(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const kind = cloud.Recreate
		m := newSim(r, clouds(r)...)
		highest := map[cloud.Slot]cloud.Revision{}
		m.check = func(_ *simNode, s runtime.Step) {
			for a := range m.state.AllAssignments() {
				for _, p := range a.Places {
					slot := a.Slot(p)
					if p.Token > highest[slot] {
						highest[slot] = p.Token
					}
				}
			}
			if s.Do == runtime.Start && s.Token > highest[s.Slot] {
				r.Fatalf("%s starts with token %d, which no place ever had", s.Slot, s.Token)
			}
		}
		m.pushed(kind)
		m.shake(kind)
		m.quiet()
		for slot, p := range placesOf(m.state) {
			if p.Token < highest[slot] {
				r.Fatalf("%s has the token %d, an earlier place had %d", slot, p.Token, highest[slot])
			}
		}
	})
}

// The order in which instances were seen changes nothing.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newSim(r, clouds(r)...).pushed(cloud.Rolling)
		m.ask(cloud.Rolling, toGoOn)
		var all []*cloud.Instance
		for i := range m.runs.All() {
			next := *i
			next.Phase = rapid.SampledFrom(cloud.InstancePhases()).Draw(r, "phase")
			all = append(all, &next)
		}
		var got []string
		for range 2 {
			o := m.runs
			for _, i := range all {
				o = o.Without(i.ID)
			}
			for _, i := range all {
				o = o.With(i)
			}
			v := cloud.View{State: m.state, Instances: o}
			v.State = v.State.Apply(v.State.Rev()+1, leader.Assign(v, appsOf(v)...))
			got = append(got, fmt.Sprint(placesOf(v.State))+plans(v))
			m.rnd.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
		}
		if got[0] != got[1] {
			r.Fatalf("one is\n%sthe other\n%s", got[0], got[1])
		}
	})
}
