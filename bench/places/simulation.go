package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
)

// domain is the cloud's.
const domain = "micro.test"

// simulation is a cloud of which every step is carried out at once.
type simulation struct {
	now      time.Time
	view     cloud.View
	perApp   int
	compiler *router.Compiler
	table    *router.Table
	zone     *dnsd.Zone
	work     cloud.Worklist // of whoever gives places
	next     int            // instance
	measured []*measurement
	heap     [3]uint64

	deploys, transactions, keys, bytes, phases int
}

func newSimulation(nodes, apps, perApp int) *simulation {
	s := &simulation{
		now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), view: cloud.NewView(), perApp: perApp,
		compiler: &router.Compiler{Node: nodeOf(0)},
	}
	at := cloud.Stamp{At: s.now, By: "bench"}
	changes, err := s.view.State.Configure(cloud.Settings{Domain: domain})
	if err != nil {
		panic(err) // it is one
	}
	changes = append(changes, s.view.State.Init(at)...)
	for k := range nodes {
		n := &cloud.Node{
			Name: nodeOf(k), Labels: map[string]string{cloud.ZoneLabel: fmt.Sprintf("zone-%d", k%3)},
			Capacity: cloud.Capacity{Memory: 64 << 30, CPU: 32_000},
		}
		changes = append(changes, cloud.Put(n))
		s.view.Instances = s.view.Instances.WithNode(&cloud.NodeStatus{Name: n.Name, Alive: true})
	}
	s.view.State = s.view.State.Apply(1, changes)
	for k := range apps {
		pushed, ref, err := s.view.State.Push(s.push(appOf(k)), at)
		if err != nil {
			panic(err) // nothing of it depends on the outside
		}
		state := s.view.State.Apply(s.view.State.Rev()+1, pushed)
		settled := state.FinishRollout(ref.AppRef, s.now, at)
		s.view.State = state.Apply(state.Rev()+1, settled)
	}
	return s
}

// push is a release of an app: its image, instances, and some environment.
func (s *simulation) push(app cloud.AppRef) cloud.Push {
	env := map[string]string{}
	for k := range 10 {
		env[fmt.Sprintf("SETTING_%d", k)] = "a value of some length, as they have"
	}
	return cloud.Push{
		App: app, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:0123456789012345678901234567890123456789012345678901234567890123"}},
		Spec: cloud.PushSpec{
			Env:       env,
			Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Instances: new(s.perApp), Memory: new(int64(256 << 20))}},
		},
	}
}

func nodeOf(k int) cloud.NodeName { return cloud.NodeName(fmt.Sprintf("node-%04d", k)) }

func appOf(k int) cloud.AppRef {
	return cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(fmt.Sprintf("app-%05d", k))}
}

// everything measures what a process has to do that begins anew.
func (s *simulation) everything() {
	s.measure("Assign, nothing has a place yet", func() {
		const atOnce = 100 // as the leader does it
		apps := s.work.Next(s.view, s.now)
		for len(apps) > 0 {
			n := min(atOnce, len(apps))
			s.view.State = s.view.State.Apply(s.view.State.Rev()+1, leader.Assign(s.view, apps[:n]...))
			apps = apps[n:]
		}
	})
	s.heap[0] = heapInUse()
	for a := range s.view.State.AllAssignments() {
		for _, p := range a.Places {
			s.start(a, p, cloud.InstanceReady)
		}
	}
	s.heap[1] = heapInUse()
	s.measure("Assign, everything has its place", func() {
		if changes := leader.Assign(s.view, s.all()...); len(changes) > 0 {
			panic(fmt.Sprintf("%d apps have a place and get another", len(changes)))
		}
	})
	s.measure("Plan of one node, everything runs", func() {
		for _, app := range s.all() {
			if steps, _ := runtime.Plan(s.view, nodeOf(0), app, s.now); len(steps) > 0 {
				panic(fmt.Sprintf("everything runs, and a node plans %v", steps))
			}
		}
	})
	s.measure("Advance, nothing to decide", func() {
		for _, app := range s.all() {
			leader.Advance(s.view, app, s.now)
		}
	})
	s.measure("the table from nothing", func() { s.table = s.compiler.Compile(nil, s.view) })
	empty, err := dnsd.NewZone(domain)
	if err != nil {
		panic(err)
	}
	s.measure("the zone from nothing", func() { s.zone = dnsd.Compile(empty, cloud.View{}, s.view) })
	s.heap[2] = heapInUse()
	s.work.Next(s.view, s.now)
}

func (s *simulation) all() []cloud.AppRef { return new(cloud.Worklist).Next(s.view, s.now) }

// start shows an instance of a place.
func (s *simulation) start(a *cloud.Assignment, p cloud.Place, phase cloud.InstancePhase) {
	s.next++
	s.view.Instances = s.view.Instances.With(&cloud.Instance{
		ID: cloud.InstanceID(fmt.Sprintf("%s-r%d-%s-%d-%06x", a.App, a.N, p.Process, p.Index, s.next)), Slot: a.Slot(p),
		Generation: p.Generation, Of: a.Of, Token: p.Token, Node: p.Node, Phase: phase, Since: s.now, Started: s.now,
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(s.next >> 16), byte(s.next >> 8), byte(s.next)}), 8080),
	})
}
