package leader_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/cloudtest"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
)

// fenceRules are what keeps an instance that must not run twice from running twice. Each of them is needed: TestFence finds
// how the instance runs twice without it.
type fenceRules struct {
	// A node has a lease of its own before it starts such an instance (runtime.Plan).
	leaseFirst bool
	// A node's shims start no such instance when the lease has ended (shim.fence).
	refuseStart bool
	// They kill it before the lease may have ended for others.
	killInTime bool
	// A node that gets a lease says that it is alive, in a transaction that also writes the head, and then reads the newest
	// state before it counts on the lease (presence.announce).
	announce bool
	// Whoever gives places knows all that was written before the head on which the change depends (presence.Observed).
	observed bool
	// A node that has lost its lease does not give away its own places: the lease lasts longer for the others (NodeStatus.Fenced).
	ownPlaces bool
	// What must not run twice is not given away for a while after a lease has ended, because etcd may end one too early
	// (presence.buried).
	patience bool
	// No rule, but a fault: the store ends leases too early.
	earlyEnds bool
}

var allFenceRules = fenceRules{true, true, true, true, true, true, true, true}

// TestFence lets three nodes fail in random ways, with random delays of everything, while an instance moves between them.
func TestFence(t *testing.T) {
	f := func(name string, without func(*fenceRules), first, seeds int) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := allFenceRules
			without(&rules)
			runs, holds := 0, rules == allFenceRules
			for seed := first; seed < first+seeds; seed++ {
				m := newFenceModel(t, uint64(seed), rules)
				err := m.run()
				runs += m.starts
				switch {
				case err != nil && holds:
					t.Fatalf("seed %d: %v\n%s", seed, err, m.trace)
				case err != nil:
					t.Logf("seed %d: %v", seed, err)
					return // as it must be
				}
			}
			if !holds {
				t.Errorf("without this rule the instance never ran twice in %d runs: is the rule needed, or is the model too kind?", seeds)
			}
			if holds && runs < 2*seeds {
				t.Errorf("the instance was started only %d times in %d runs", runs, seeds)
			}
		})
	}
	f("all rules", func(*fenceRules) {}, 0, 100)
	// The first seeds lie a little before one that shows it. Patience hides the lack of some other rules.
	f("no lease first", func(r *fenceRules) { r.leaseFirst = false }, 600, 3000)
	f("starts are not refused", func(r *fenceRules) { r.refuseStart = false }, 125, 3000)
	f("no announcement", func(r *fenceRules) { r.announce = false }, 145, 3000)
	f("own places are given away", func(r *fenceRules) { r.ownPlaces = false }, 0, 3000)
	f("no patience", func(r *fenceRules) { r.patience = false }, 0, 3000)
	f("killed late", func(r *fenceRules) { r.killInTime, r.patience, r.earlyEnds = false, false, false }, 0, 3000)
	f("decided by old observations", func(r *fenceRules) { r.observed, r.patience, r.earlyEnds = false, false, false }, 1130, 3000)
}

// The times of the model in milliseconds; those of package presence and of the shim.
const (
	fenceTick    = 100
	leaseTTL     = 6000
	fencedAfter  = 4000
	killedAfter  = 4500
	unseenAfter  = 15000
	fenceRunTime = 90_000
)

// fenceModel is a store with leases, and three nodes.
type fenceModel struct {
	*rand.Rand
	rules  fenceRules
	now    int
	state  *cloud.State
	log    []fenceEvent // the store's history: an event's revision is its index
	head   int          // the revision that last wrote the head
	leases []fenceLease // by number
	status map[cloud.NodeName]int
	nodes  []*fenceNode
	sent   []fenceRequest // requests on their way to the store
	starts int
	ids    int
	trace  fenceTrace
}

// fenceTrace is what happened, for a person.
type fenceTrace []string

func (t fenceTrace) String() (text string) {
	for _, line := range t[max(0, len(t)-60):] {
		text += line + "\n"
	}
	return text
}

type fenceLease struct {
	node    cloud.NodeName
	expires int
	ended   bool
}

// fenceEvent is what one transaction wrote.
type fenceEvent struct {
	state *cloud.State // nil if it did not write the head
	node  cloud.NodeName
	alive bool // of node, if that is set
	says  bool // node says that it has these instances, and no others
	runs  []*cloud.Instance
	left  []*cloud.Left
}

// fenceRequest is carried out at a time, or when its node is no longer cut off. The node has the answer later.
type fenceRequest struct {
	of     *fenceNode
	life   int // of the node's process
	at     int
	do     func()
	answer func()
}

func newFenceModel(t *testing.T, seed uint64, rules fenceRules) *fenceModel {
	v := cloudtest.View(t, "node n1\nnode n2\nnode n3\napp shop current=1\nrelease shop@r1 web=1 recreate up", "")
	m := &fenceModel{Rand: rand.New(rand.NewPCG(seed, 0)), rules: rules, state: v.State, status: map[cloud.NodeName]int{}, log: []fenceEvent{{state: v.State}}}
	for n := range v.State.Nodes() {
		m.nodes = append(m.nodes, &fenceNode{fenceModel: m, name: n.Name})
		m.nodes[len(m.nodes)-1].boot()
	}
	return m
}

func (m *fenceModel) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf("%6d "+format, append([]any{m.now}, args...)...))
}

// run runs the model, and returns how the instance ran twice.
func (m *fenceModel) run() error {
	next := 3000
	for ; m.now < fenceRunTime; m.now += fenceTick {
		if m.now >= next {
			next = m.now + 2000 + m.IntN(9000)
			m.fail()
		}
		m.serve()
		for _, k := range m.Perm(len(m.nodes)) {
			m.nodes[k].step()
		}
		running := ""
		for _, n := range m.nodes {
			for _, b := range n.boxes {
				if b.running && running != "" {
					return fmt.Errorf("at %d it runs on %s and on %s", m.now, running, n.name)
				}
				if b.running {
					running = string(n.name)
				}
			}
		}
	}
	return nil
}

// fail lets a node fail for a while, or be drained, or lets it be slow.
func (m *fenceModel) fail() {
	n := m.nodes[m.IntN(len(m.nodes))]
	for _, other := range m.nodes {
		if other != n && (other.until > m.now || !other.works()) {
			return // a majority works
		}
	}
	n.until = m.now + m.IntN(12_000)
	kinds := []string{"stop", "cut", "kill", "power off", "slow", "drain"}
	if m.rules.earlyEnds {
		kinds = append(kinds, "leases end")
	}
	kind := kinds[m.IntN(len(kinds))]
	m.note("%s: %s until %d", n.name, kind, n.until)
	switch kind {
	case "stop":
		n.stopped = true
	case "cut":
		n.cut = true
	case "kill":
		n.die()
	case "power off":
		n.die()
		n.boxes, n.fenced = nil, false
	case "leases end":
		n.until = m.now
		for id := range m.leases {
			m.endLease(id)
		}
	case "slow":
		n.slow = true
	case "drain":
		node, _ := m.state.Node(n.name)
		if changes, err := m.state.DrainNode(n.name, !node.Drain); err == nil {
			m.commit(m.head, changes)
		}
	}
}

// commit writes changes if the head is still of a revision.
func (m *fenceModel) commit(head int, changes []cloud.Change) bool {
	if m.head != head {
		return false
	}
	m.state = m.state.Apply(m.state.Rev()+1, changes)
	m.write(fenceEvent{state: m.state})
	return true
}

func (m *fenceModel) write(e fenceEvent) {
	if m.log = append(m.log, e); e.state != nil {
		m.head = len(m.log) - 1
	}
}

// serve carries out requests, and ends leases.
func (m *fenceModel) serve() {
	waiting := m.sent
	m.sent = nil
	for _, r := range waiting {
		switch {
		case r.of.life != r.life: // its process has died
		case r.at > m.now:
			m.sent = append(m.sent, r)
		case r.do == nil:
			if r.of.works() {
				r.answer()
			} else {
				m.sent = append(m.sent, r) // it waits for the process to go on
			}
		case r.of.cut:
			m.sent = append(m.sent, r) // it arrives late
		default:
			r.do()
			m.sent = append(m.sent, fenceRequest{of: r.of, life: r.life, at: m.now + m.delay(), answer: r.answer})
		}
	}
	for id := range m.leases {
		if m.now >= m.leases[id].expires && m.IntN(4) == 0 {
			m.endLease(id)
		}
	}
}

func (m *fenceModel) endLease(id int) {
	l := &m.leases[id]
	if l.ended {
		return
	}
	if l.ended = true; m.status[l.node] == id+1 {
		delete(m.status, l.node)
		m.write(fenceEvent{node: l.node, says: true})
	}
}

// delay is how long a message takes.
func (m *fenceModel) delay() int {
	if m.IntN(10) == 0 {
		return m.IntN(1500)
	}
	return m.IntN(200)
}

// announce says that a node is alive.
func (m *fenceModel) announce(n *fenceNode, lease int) {
	m.status[n.name] = lease
	e := fenceEvent{node: n.name, alive: true}
	if m.rules.announce {
		e.state = m.state
	}
	m.write(e)
}

// move decides where the instance runs, as any node may.
func (n *fenceNode) move() {
	if n.deciding || n.cut || n.rules.observed && n.seenAt < n.headAt {
		return
	}
	v := n.view()
	changes := leader.Assign(v, appsOf(v)...)
	if len(changes) == 0 {
		return
	}
	n.deciding = true
	head := n.headAt
	n.ask(func() {
		if n.commit(head, changes) {
			n.note("%s moves: %s", n.name, describePlaces(n.fenceModel.state))
		}
	}, func() { n.deciding = false })
}

func describePlaces(s *cloud.State) (text string) {
	for a := range s.AllAssignments() {
		for _, p := range a.Places {
			text += fmt.Sprintf(" %s token %d leaving %t", p.Node, p.Token, p.Leaving)
		}
	}
	return text
}

// plan does what a node does next for its instances.
func (n *fenceNode) plan() {
	v := n.view()
	for _, app := range appsOf(v) {
		steps, _ := runtime.Plan(v, n.name, app, noon)
		for _, s := range steps {
			n.do(s)
		}
	}
}
