package leader_test

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// fenceNode is a machine with a process of micro and its shims.
type fenceNode struct {
	*fenceModel
	name cloud.NodeName

	// How it fails, and until when.
	stopped, cut, slow, off bool
	until                   int
	life                    int // counts its processes

	// What its process knows: the state and what others say, each up to a revision.
	began           int // when it works
	state           *cloud.State
	stateAt, headAt int
	seen            *cloud.Instances
	seenAt          int
	said            []*cloud.Instance
	saidLeft        []*cloud.Left
	saying          bool // a request is on its way
	deciding        bool // so is one
	patient         map[cloud.NodeName]int

	// Its lease.
	lease    int // 0 for none
	asked    bool
	granted  int // when the present lease was asked for
	renewed  int // when the renewal was sent that succeeded last
	held     bool
	wantsRev cloud.Revision // must be known before the lease counts

	// What outlives its process: the time until which its shims let instances run, and these.
	fenced bool
	file   int
	boxes  []*fenceBox
}

// fenceBox is a container.
type fenceBox struct {
	i       *cloud.Instance
	life    int // of the process that makes it
	made    int // when it is made and may start
	running bool
	ended   bool
	endsAt  int // when it has been asked to end; 0 if it was not
	look    int // when its shim looks at the lease next
	dies    int // when a kill that has begun is done; 0 for none
}

func (n *fenceNode) works() bool { return !n.off && !n.stopped }

// boot starts a process, which first reads all that the store has.
func (n *fenceNode) boot() {
	n.off, n.life, n.began = false, n.life+1, n.now+500+n.IntN(3000)
	n.state, n.stateAt, n.headAt = n.fenceModel.state, len(n.log)-1, n.head
	n.seen, n.seenAt, n.said, n.saidLeft, n.deciding = cloud.NewInstances(), -1, nil, nil, false
	n.saying, n.patient = false, map[cloud.NodeName]int{}
	n.lease, n.asked, n.held = 0, false, false
	n.boxes = slices.DeleteFunc(n.boxes, func(b *fenceBox) bool { return !b.running })
	for _, b := range n.boxes {
		b.endsAt = 0
		n.phase(b, cloud.InstanceReady)
	}
	if !n.rules.leaseFirst {
		n.setStatus(true)
	}
}

// die ends the process.
func (n *fenceNode) die() { n.off, n.life = true, n.life+1 }

func (n *fenceNode) setStatus(alive bool) {
	n.seen = n.seen.WithNode(&cloud.NodeStatus{Name: n.name, Alive: alive, Fenced: !alive && n.rules.ownPlaces})
}

func (n *fenceNode) view() cloud.View { return cloud.View{State: n.state, Instances: n.seen} }

// ask sends a request.
func (n *fenceNode) ask(do, answer func()) {
	n.sent = append(n.sent, fenceRequest{of: n, life: n.life, at: n.now + n.delay(), do: do, answer: answer})
}

// step lets the machine do what it does in a tick.
func (n *fenceNode) step() {
	for _, b := range n.boxes {
		n.watch(b)
	}
	if n.until <= n.now {
		n.stopped, n.cut, n.slow = false, false, false
		if n.off {
			n.boot()
		}
	}
	if !n.works() || n.now < n.began {
		return
	}
	n.hear()
	acts := []func(){n.keep, n.tend, n.say}
	if n.IntN(3) > 0 {
		acts = append(acts, n.plan)
	}
	if n.IntN(3) == 0 {
		acts = append(acts, n.move)
	}
	for _, k := range n.Perm(len(acts)) {
		acts[k]()
	}
}

// hear reads the store's history further: sometimes much, sometimes little.
func (n *fenceNode) hear() {
	if n.cut {
		return
	}
	further := func() bool { return n.IntN(100) < map[bool]int{true: 15, false: 95}[n.slow] }
	for n.seenAt < len(n.log)-1 && further() {
		n.seenAt++
		n.see(n.log[n.seenAt])
	}
	// A change of the state waits for a moment until what was said before is known.
	for n.stateAt < len(n.log)-1 && (n.seenAt > n.stateAt || n.IntN(5) == 0) && further() {
		n.stateAt++
		if s := n.log[n.stateAt].state; s != nil {
			n.state, n.headAt = s, n.stateAt
		}
	}
	for s := range n.seen.NodeStatuses() {
		if s.Fenced && s.Name != n.name && n.now >= n.patient[s.Name] {
			n.seen = n.seen.WithNode(&cloud.NodeStatus{Name: s.Name})
		}
	}
	if n.now-n.began < unseenAfter {
		return
	}
	for other := range n.state.Nodes() {
		if _, ok := n.seen.NodeStatus(other.Name); !ok && other.Name != n.name {
			n.seen = n.seen.WithNode(&cloud.NodeStatus{Name: other.Name})
		}
	}
}

// see applies what another node says.
func (n *fenceNode) see(e fenceEvent) {
	if e.node == "" || e.node == n.name {
		return
	}
	if dead := e.says && e.runs == nil && e.left == nil; e.alive || dead {
		n.seen = n.seen.WithNode(&cloud.NodeStatus{Name: e.node, Alive: e.alive, Fenced: dead && n.rules.patience})
		n.patient[e.node] = n.now + leaseTTL
	}
	if !e.says {
		return
	}
	for i := range n.seen.All() {
		if i.Node == e.node {
			n.seen = n.seen.Without(i.ID)
		}
	}
	for _, i := range e.runs {
		n.seen = n.seen.With(i)
	}
	for _, l := range e.left {
		n.seen = n.seen.WithLeft(l)
	}
}

// say tells the others what this node has, as long as it holds its lease.
func (n *fenceNode) say() {
	if !n.held || n.saying {
		return
	}
	runs, left := []*cloud.Instance{}, []*cloud.Left{}
	for i := range n.seen.All() {
		if i.Node == n.name {
			runs = append(runs, i)
		}
	}
	for app := range n.state.Apps("") {
		for l := range n.seen.LeftOf(app.AppRef) {
			if l.Node == n.name {
				left = append(left, l)
			}
		}
	}
	if n.said == nil || !reflect.DeepEqual(runs, n.said) || !reflect.DeepEqual(left, n.saidLeft) {
		n.said, n.saidLeft, n.saying = runs, left, true
		lease := n.lease
		n.ask(func() {
			if !n.leases[lease-1].ended {
				n.status[n.name] = lease
				n.write(fenceEvent{node: n.name, alive: true, says: true, runs: runs, left: left})
			}
		}, func() { n.saying = false })
	}
}

// keep gets a lease and renews it.
func (n *fenceNode) keep() {
	switch {
	case n.lease == 0 && !n.asked:
		n.asked = true
		n.granted = n.now
		id := 0
		n.ask(func() {
			n.leases = append(n.leases, fenceLease{node: n.name, expires: n.now + leaseTTL})
			if id = len(n.leases); n.rules.announce {
				n.announce(n, id)
			}
			n.wantsRev = n.fenceModel.state.Rev()
		}, func() { n.asked, n.lease = false, id })
	case n.lease == 0: // the request is on its way
	case !n.held:
		if n.now-n.granted > fencedAfter/2 {
			n.lease = 0
			break
		}
		if n.state.Rev() >= n.wantsRev {
			n.held, n.renewed = true, n.granted
			n.fence(n.granted)
			n.setStatus(true)
			n.note("%s holds lease %d", n.name, n.lease)
		}
	case n.now-n.renewed > fencedAfter:
		n.lose()
	case n.now%1000 == 0:
		sent, lease, ok := n.now, n.lease, false
		n.ask(func() {
			l := &n.leases[lease-1]
			if ok = !l.ended; ok {
				l.expires = n.now + leaseTTL
			}
		}, func() {
			switch {
			case lease != n.lease || !n.held:
			case !ok:
				n.lose()
			case sent > n.renewed:
				n.renewed = sent
				n.fence(sent)
			}
		})
	}
}

func (n *fenceNode) lose() {
	n.lease, n.held, n.said = 0, false, nil
	n.setStatus(false)
	n.note("%s has lost its lease", n.name)
}

// fence tells the shims until when instances may run.
func (n *fenceNode) fence(sent int) {
	n.fenced, n.file = true, sent+killedAfter
	if !n.rules.killInTime {
		n.file = sent + leaseTTL + 1500
	}
}

// do begins a step of the node's plan.
func (n *fenceNode) do(s runtime.Step) {
	switch s.Do {
	case runtime.Start:
		n.ids++
		i := &cloud.Instance{ID: cloud.InstanceID(fmt.Sprintf("i%d", n.ids)), Slot: s.Slot, Generation: s.Generation, Of: s.Of, Token: s.Token, Node: n.name, Phase: cloud.InstanceStarting}
		n.seen = n.seen.With(i)
		n.boxes = append(n.boxes, &fenceBox{i: i, life: n.life, made: n.now + n.IntN(3000)})
	case runtime.Drain:
		for _, b := range n.boxes {
			if b.i.ID == s.ID && b.endsAt == 0 {
				b.endsAt = n.now + n.IntN(2000)
				n.phase(b, cloud.InstanceStopping)
			}
		}
	case runtime.Remove:
		n.seen = n.seen.Without(s.ID)
	case runtime.Leave:
		n.seen = n.seen.WithLeft(&cloud.Left{Slot: s.Slot, Node: n.name, Token: s.Token})
	}
}

func (n *fenceNode) phase(b *fenceBox, p cloud.InstancePhase) {
	i := *b.i
	i.Phase = p
	b.i = &i
	n.seen = n.seen.With(&i)
}

// tend is what the process does for its containers.
func (n *fenceNode) tend() {
	n.boxes = slices.DeleteFunc(n.boxes, func(b *fenceBox) bool {
		switch {
		case b.ended, b.endsAt != 0 && n.now >= b.endsAt:
			n.seen = n.seen.Without(b.i.ID)
			return true
		case b.running || b.endsAt != 0 || n.now < b.made:
		case n.rules.refuseStart && n.fenced && n.now > n.file:
			b.made = n.now + 1000
		default:
			b.running, b.look = true, n.now+n.IntN(200)
			n.starts++
			n.note("%s starts %s by token %d", n.name, b.i.ID, b.i.Token)
			n.phase(b, cloud.InstanceReady)
		}
		return false
	})
}

// watch is what a shim does, whether the process runs or not.
func (n *fenceNode) watch(b *fenceBox) {
	switch {
	case !b.running:
	case b.dies != 0 && n.now >= b.dies:
		b.running, b.ended = false, true
		n.note("the shim on %s has killed %s", n.name, b.i.ID)
	case b.dies == 0 && n.now >= b.look:
		b.look = n.now + 200 + n.IntN(200)
		if n.fenced && n.now > n.file {
			b.dies = n.now + n.IntN(300)
		}
	}
}
