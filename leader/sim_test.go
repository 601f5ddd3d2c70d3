package leader_test

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
)

// sim is a cloud of several nodes, each at its own pace: whoever gives places sees instances as they were a
// while ago, and a node the state. Steps are carried out in a random order.
type sim struct {
	*rapid.T
	rnd   *rand.Rand
	state *cloud.State
	runs  *cloud.Instances // what really runs
	seen  *cloud.Instances // of that, what whoever gives places has seen
	nodes []*simNode
	next  int
	// trouble is how many instances become unwell or end by themselves yet.
	trouble int
	// check, if set, sees every step a moment before it is carried out.
	check func(n *simNode, s runtime.Step)
}

// simNode is one node: the state as it knows it, and whether it hears of changes and others of it.
type simNode struct {
	name  cloud.NodeName
	state *cloud.State
	away  bool // it is cut off
	alive bool // it has its lease
}

func newSim(r *rapid.T, nodes ...cloud.Node) *sim {
	m := &sim{
		T: r, rnd: rand.New(rand.NewSource(rapid.Int64().Draw(r, "seed"))),
		state: cloud.NewState(), runs: cloud.NewInstances(), check: func(*simNode, runtime.Step) {},
	}
	m.state = m.state.Apply(1, m.state.Init(ann))
	for _, n := range nodes {
		m.join(n)
	}
	m.seen = m.runs
	return m
}

// join adds a node, which learns of everything at once.
func (m *sim) join(n cloud.Node) {
	m.state = m.state.Apply(m.state.Rev()+1, []cloud.Change{cloud.Put(&n)})
	m.runs = m.runs.WithNode(&cloud.NodeStatus{Name: n.Name, Alive: true})
	m.nodes = append(m.nodes, &simNode{name: n.Name, state: m.state, alive: true})
	m.seen = m.runs
}

func (m *sim) node(name cloud.NodeName) *simNode {
	return m.nodes[slices.IndexFunc(m.nodes, func(n *simNode) bool { return n.name == name })]
}

// write changes the state as a verb wants it, and gives places in the same transaction.
func (m *sim) write(changes []cloud.Change) {
	if len(changes) == 0 {
		return
	}
	all, err := leader.WithPlaces(m.view, func(*cloud.State) ([]cloud.Change, error) { return changes, nil })(m.state)
	if err != nil {
		m.Fatal(err)
	}
	m.apply(all)
}

// view is what whoever gives places knows.
func (m *sim) view() cloud.View { return cloud.View{State: m.state, Instances: m.seen} }

// apply writes changes, of which those of places are looked at: nodes never have more than they have room for.
func (m *sim) apply(changes []cloud.Change) {
	before := m.state
	m.state = m.state.Apply(m.state.Rev()+1, changes)
	for n := range m.state.Nodes() {
		used, was := usedOf(m.state, n.Name), usedOf(before, n.Name)
		if counted := m.state.Used(n.Name); counted.Memory != used {
			m.Fatalf("the state counts %+v of %s, its places use %d", counted, n.Name, used)
		}
		if n.Capacity.Memory > 0 && used > n.Capacity.Memory && used > was {
			m.Fatalf("%s has places for %d of %d", n.Name, used, n.Capacity.Memory)
		}
	}
}

func usedOf(s *cloud.State, n cloud.NodeName) (memory int64) {
	for a := range s.AssignmentsOn(n) {
		for _, p := range a.Places {
			if p.Node == n {
				memory += p.Memory
			}
		}
	}
	return memory
}

// look shows whoever gives places what runs on the nodes that are not cut off.
func (m *sim) look() {
	away := map[cloud.NodeName]bool{}
	for _, n := range m.nodes {
		away[n.name] = n.away
	}
	next := m.runs
	for i := range m.runs.All() {
		if away[i.Node] {
			next = next.Without(i.ID)
		}
	}
	for i := range m.seen.All() {
		if away[i.Node] {
			next = next.With(i)
		}
	}
	for _, n := range m.nodes {
		next = next.WithNode(&cloud.NodeStatus{Name: n.name, Alive: n.alive})
	}
	m.seen = next
}

// lead decides as a leader does, of what it has seen.
func (m *sim) lead() {
	v := m.view()
	for _, app := range appsOf(v) {
		decisions, _ := leader.Advance(v, app, noon)
		for _, d := range decisions {
			m.write(d.Apply(m.state, leader.DefaultWarm, cloud.Stamp{At: noon, By: "micro"}))
		}
	}
	if changes := leader.Assign(m.view(), appsOf(m.view())...); len(changes) > 0 {
		m.apply(changes)
		if more := leader.Assign(m.view(), appsOf(m.view())...); len(more) > 0 {
			m.Fatalf("with all places given there is more to give: %v, then %v", changes, more)
		}
	}
}

// work lets a node do what it plans, and come to know the state where it is not cut off.
func (m *sim) work(n *simNode) (did int) {
	if !n.away {
		n.state = m.state
	}
	v := cloud.View{State: n.state, Instances: m.runs.WithNode(&cloud.NodeStatus{Name: n.name, Alive: n.alive})}
	var steps []runtime.Step
	for _, app := range appsOf(v) {
		more, _ := runtime.Plan(v, n.name, app, noon)
		steps = append(steps, more...)
	}
	m.rnd.Shuffle(len(steps), func(a, b int) { steps[a], steps[b] = steps[b], steps[a] })
	for _, s := range steps {
		m.check(n, s)
		m.do(n, s)
	}
	v.Instances = m.runs.WithNode(&cloud.NodeStatus{Name: n.name, Alive: n.alive})
	for _, app := range appsOf(v) {
		if more, _ := runtime.Plan(v, n.name, app, noon); len(more) > 0 {
			m.Fatalf("%s: with all steps under way there is more to do:\n%s", n.name, showSteps(more, time.Time{}))
		}
	}
	return len(steps)
}

// do begins a step: what it begins is seen at once.
func (m *sim) do(n *simNode, s runtime.Step) {
	switch s.Do {
	case runtime.Start:
		m.next++
		m.runs = m.runs.With(&cloud.Instance{
			ID: cloud.InstanceID(fmt.Sprintf("i%04d", m.next)), Slot: s.Slot, Generation: s.Generation, Of: s.Of, Token: s.Token,
			Node: n.name, Phase: cloud.InstanceStarting,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(m.next >> 8), byte(m.next)}), 8080),
		})
	case runtime.Drain:
		m.phase(s.ID, cloud.InstanceDraining)
	case runtime.Remove:
		m.runs = m.runs.Without(s.ID)
	case runtime.Leave:
		m.runs = m.runs.WithLeft(&cloud.Left{Slot: s.Slot, Node: n.name, Token: s.Token})
	}
}

func (m *sim) phase(id cloud.InstanceID, p cloud.InstancePhase) {
	if i, ok := m.runs.Get(id); ok {
		next := *i
		next.Phase = p
		m.runs = m.runs.With(&next)
	}
}

// move lets some instance come further on its way; false where none is on one.
func (m *sim) move() bool {
	if all := slices.Collect(m.runs.All()); m.trouble > 0 && len(all) > 0 {
		m.trouble--
		if i := all[m.rnd.Intn(len(all))]; i.Phase.Live() {
			m.phase(i.ID, []cloud.InstancePhase{cloud.InstanceUnready, cloud.InstanceExited}[m.rnd.Intn(2)])
		}
		return true
	}
	var on []*cloud.Instance
	for i := range m.runs.All() {
		if i.Phase != cloud.InstanceReady && i.Phase != cloud.InstanceExited {
			on = append(on, i)
		}
	}
	if len(on) == 0 {
		return false
	}
	m.further(on[m.rnd.Intn(len(on))])
	return true
}

func (m *sim) further(i *cloud.Instance) {
	switch i.Phase {
	case cloud.InstanceStarting, cloud.InstanceUnready:
		m.phase(i.ID, cloud.InstanceReady)
	case cloud.InstanceDraining:
		m.phase(i.ID, cloud.InstanceStopping)
	case cloud.InstanceStopping:
		m.runs = m.runs.Without(i.ID)
	case cloud.InstanceReady, cloud.InstanceExited:
	}
}

// step lets one of them do something: who and how soon is left to chance.
func (m *sim) step() {
	switch m.rnd.Intn(4) {
	case 0:
		m.look()
	case 1:
		m.lead()
	case 2:
		m.work(m.nodes[m.rnd.Intn(len(m.nodes))])
	case 3:
		m.move()
	}
}

// quiet lets all go on until there is nothing to do.
func (m *sim) quiet() {
	for range 5000 {
		m.look()
		rev, did := m.state.Rev(), 0
		m.lead()
		for _, k := range m.rnd.Perm(len(m.nodes)) {
			did += m.work(m.nodes[k])
		}
		if !m.move() && did == 0 && rev == m.state.Rev() {
			return
		}
	}
	m.Fatal("it never ends")
}

// powerOff ends a node and all that runs there. Others see that when its lease ends.
func (m *sim) powerOff(n *simNode) {
	n.away = true
	for i := range m.runs.All() {
		if i.Node == n.name {
			m.runs = m.runs.Without(i.ID)
		}
	}
}

// expire ends a node's lease. One that is cut off notices before the others do, and ends what must not run
// twice; nobody waits for what takes longer.
func (m *sim) expire(n *simNode) {
	n.alive = false
	for {
		did := m.work(n)
		for i := range m.runs.All() {
			if i.Node == n.name && (i.Phase == cloud.InstanceDraining || i.Phase == cloud.InstanceStopping) {
				m.further(i)
				did++
			}
		}
		if did == 0 {
			break
		}
	}
	m.look()
}

// heal lets a node take part again, as it is. Before it has a lease again, it knows the newest state.
func (m *sim) heal(n *simNode) {
	if !n.alive {
		n.state = m.state
	}
	n.away, n.alive = false, true
	for l := range m.runs.LeftOf(shop) {
		if l.Node == n.name {
			m.runs = m.runs.WithoutLeft(l.Slot, l.Node) // a process that begins anew has said nothing
		}
	}
	m.look()
}

// draft is a specification of an app at random.
func (m *sim) draft(kind cloud.StrategyKind) cloud.PushSpec {
	r := m.T
	strategy := cloud.Strategy{Kind: kind, Batch: rapid.IntRange(0, 3).Draw(r, "batch")}
	if surge := rapid.IntRange(-1, 2).Draw(r, "surge"); surge >= 0 && kind != cloud.Recreate {
		strategy.Surge = &surge
	}
	return cloud.PushSpec{
		Strategy: &strategy,
		Processes: map[cloud.ProcessName]cloud.ProcessSpec{
			cloud.Web: {Instances: new(rapid.IntRange(1, 6).Draw(r, "web")), Memory: new(int64(512 << 20))},
			"worker":  {Instances: new(rapid.IntRange(0, 3).Draw(r, "worker")), Memory: new(int64(512 << 20))},
		},
	}
}

func (m *sim) push(spec cloud.PushSpec) {
	changes, _, err := m.state.Push(cloud.Push{App: shop, Spec: spec}, ann)
	if err != nil {
		m.Fatal(err)
	}
	m.write(changes)
}

// pushed is a sim with an app that is up.
func (m *sim) pushed(kind cloud.StrategyKind) *sim {
	m.push(m.draft(kind))
	m.quiet()
	if app, _ := m.state.App(shop); app.Current != 1 {
		m.Fatalf("not current: %+v", app)
	}
	return m
}

// What ask may ask for: the last two let the app run no more, or again.
const (
	anything = 6
	toGoOn   = 4
)

// ask asks for something else of the app, up to most.
func (m *sim) ask(kind cloud.StrategyKind, most int) {
	var changes []cloud.Change
	switch rapid.IntRange(0, most).Draw(m.T, "ask") {
	case 0:
		m.push(m.draft(kind))
		return
	case 1:
		changes, _ = m.state.Restart(shop.Release(0))
	case 2:
		changes, _ = m.state.Scale(shop.Release(0), m.draft(kind).Processes, false)
	case 3:
		changes, _ = m.state.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Memory: new(int64(64 << 20))}}, false)
	case 4:
		changes, _, _ = m.state.Rollback(shop, 0, ann)
	case 5:
		changes, _ = m.state.Stop(shop.Release(0), false)
	case 6:
		changes, _ = m.state.Start(shop.Release(0), ann)
	}
	m.write(changes)
}

// right checks that in the end there runs what is to run.
func (m *sim) right() {
	for rel := range m.state.Releases(shop) {
		wanted := m.state.Wanted(rel)
		for name := range rel.Formation {
			got, want := 0, 0
			for i := range m.runs.OfRelease(rel.ReleaseRef) {
				if i.Process == name && i.Phase == cloud.InstanceReady && i.Generation == rel.Generation {
					got++
				}
			}
			if m.state.Runs(rel) {
				want = wanted[name].Instances
			}
			if got != want {
				m.Fatalf("%d of %s %s run in the end, want %d", got, rel.ReleaseRef, name, want)
			}
		}
	}
}

// clouds are clouds of some nodes without bounds.
func clouds(r *rapid.T) []cloud.Node {
	var nodes []cloud.Node
	for k := range rapid.IntRange(1, 5).Draw(r, "nodes") {
		zone := fmt.Sprintf("z%d", rapid.IntRange(0, 2).Draw(r, "zone"))
		nodes = append(nodes, cloud.Node{Name: cloud.NodeName(fmt.Sprintf("n%d", k+1)), Labels: map[string]string{cloud.ZoneLabel: zone}})
	}
	return nodes
}
