package main

import (
	"fmt"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
)

// deploy carries out a push of an app: its new release starts, is ready, takes over, and the old one ends.
func (s *simulation) deploy(app cloud.AppRef) error {
	at := cloud.Stamp{At: s.now, By: "bench"}
	s.deploys++
	err := s.write("a push with its places", func(state *cloud.State) ([]cloud.Change, error) {
		changes, _, err := state.Push(s.push(app), at)
		return changes, err
	})
	if err != nil {
		return err
	}
	to, _ := s.view.State.App(app)
	a, ok := s.view.State.Assignment(app.Release(to.Rollout.To))
	if !ok || len(a.Places) != s.perApp {
		return fmt.Errorf("%s was pushed and has no places: %+v", app, a)
	}
	s.plans("a push", app, a.Places[0].Node)
	for _, p := range a.Places {
		s.observe("an instance is ready", app, func() { s.start(a, p, cloud.InstanceReady) }, 3) // shown, with its address, ready
	}
	if err := s.advance("Advance, the release is up", "a switch with its places", app, leader.Settled); err != nil {
		return err
	}
	s.now = s.now.Add(leader.DefaultWarm)
	if err := s.advance("Advance, a warm release's time is over", "its end with its places", app, leader.Cooled); err != nil {
		return err
	}
	return s.ends(app)
}

// advance writes what is decided of an app's releases: it has to be one verdict.
func (s *simulation) advance(what, writing string, app cloud.AppRef, want leader.Verdict) error {
	at := cloud.Stamp{At: s.now, By: "bench"}
	var decisions []leader.Decision
	s.measure(what, func() { decisions, _ = leader.Advance(s.view, app, s.now) })
	if len(decisions) != 1 || decisions[0].Verdict != want {
		return fmt.Errorf("of %s is decided %v, want %s", app, decisions, want)
	}
	return s.write(writing, func(state *cloud.State) ([]cloud.Change, error) {
		return decisions[0].Apply(state, leader.DefaultWarm, at), nil
	})
}

// write changes the state as a node does: places follow in the same transaction.
func (s *simulation) write(what string, change func(*cloud.State) ([]cloud.Change, error)) (err error) {
	before := s.view
	var changes []cloud.Change
	s.measure(what, func() {
		changes, err = leader.WithPlaces(func() cloud.View { return before }, change)(before.State)
		s.view.State = before.State.Apply(before.State.Rev()+1, changes)
	})
	s.transactions++
	for _, c := range changes {
		value, err := c.Encode()
		if err != nil {
			return err
		}
		s.keys, s.bytes = s.keys+1, s.bytes+len(c.Key)+len(value)
	}
	s.compile(what, before)
	return err
}

// compile makes the table and the zone of a view from those of the one before.
func (s *simulation) compile(what string, before cloud.View) {
	s.measure(what+": the table", func() { s.table = s.compiler.Compile(s.table, s.view) })
	s.measure(what+": the zone", func() { s.zone = dnsd.Compile(s.zone, before, s.view) })
}

// observe shows a change of an instance, and what whoever gives places makes of it.
func (s *simulation) observe(what string, app cloud.AppRef, change func(), phases int) {
	before := s.view
	change()
	s.phases += phases
	s.measure(what+": what differs, and Assign", func() {
		for _, app := range s.work.Next(s.view, s.now) {
			if changes := leader.Assign(s.view, app); len(changes) > 0 {
				s.view.State = s.view.State.Apply(s.view.State.Rev()+1, changes)
				s.transactions++
			}
		}
	})
	s.compile(what, before)
}

// plans measures what a change costs a node that it concerns, and one that it does not.
func (s *simulation) plans(what string, app cloud.AppRef, concerned cloud.NodeName) {
	other := nodeOf(0)
	a, _ := s.view.State.Assignment(app.Release(1))
	for k := 0; a != nil && holds(a, other); k++ {
		other = nodeOf(k)
	}
	s.measure(what+": Plan, places are here", func() { runtime.Plan(s.view, concerned, app, s.now) })
	s.measure(what+": Plan, places are elsewhere", func() { runtime.Plan(s.view, other, app, s.now) })
}

func holds(a *cloud.Assignment, n cloud.NodeName) bool {
	for _, p := range a.Places {
		if p.Node == n {
			return true
		}
	}
	return false
}

// ends lets nodes end what has no place any more.
func (s *simulation) ends(app cloud.AppRef) error {
	nodes := map[cloud.NodeName]bool{}
	for i := range s.view.Instances.OfApp(app) {
		nodes[i.Node] = true
	}
	for n := range nodes {
		steps, _ := runtime.Plan(s.view, n, app, s.now)
		for _, step := range steps {
			if step.Do != runtime.Drain {
				return fmt.Errorf("%s is up, and %s plans %v", app, n, step)
			}
			s.observe("an instance is gone", app, func() { s.view.Instances = s.view.Instances.Without(step.ID) }, 3)
		}
	}
	left := 0
	for range s.view.Instances.OfApp(app) {
		left++
	}
	if left != s.perApp {
		return fmt.Errorf("of %s %d instances run in the end, want %d", app, left, s.perApp)
	}
	return nil
}

// loseNodes ends the leases of some nodes, one after the other, and lets one join for each.
func (s *simulation) loseNodes(n int) error {
	for k := range n {
		name := nodeOf(k)
		var apps []cloud.AppRef
		for a := range s.view.State.AssignmentsOn(name) {
			apps = append(apps, a.AppRef)
		}
		s.view.Instances = s.view.Instances.WithNode(&cloud.NodeStatus{Name: name})
		for i := range s.view.Instances.All() {
			if i.Node == name {
				s.view.Instances = s.view.Instances.Without(i.ID)
			}
		}
		var changes []cloud.Change
		s.measure("a node is lost: Assign of its apps", func() { changes = leader.Assign(s.view, apps...) })
		s.view.State = s.view.State.Apply(s.view.State.Rev()+1, changes)
		moved := 0
		for _, c := range changes {
			a, ok := c.Object.(*cloud.Assignment)
			if !ok || holds(a, name) {
				return fmt.Errorf("%s is lost, and %s has a place there", name, c.Key)
			}
			moved++
		}
		if moved != len(apps) {
			return fmt.Errorf("%s had places of %d apps, %d moved", name, len(apps), moved)
		}
		s.work.Next(s.view, s.now)
		joined := &cloud.Node{Name: cloud.NodeName(fmt.Sprintf("new-%04d", k)), Capacity: cloud.Capacity{Memory: 64 << 30}}
		s.view.State = s.view.State.Apply(s.view.State.Rev()+1, []cloud.Change{cloud.Put(joined)})
		s.view.Instances = s.view.Instances.WithNode(&cloud.NodeStatus{Name: joined.Name, Alive: true})
		s.measure("a node joins: what differs, and Assign", func() {
			if changes := leader.Assign(s.view, s.work.Next(s.view, s.now)...); len(changes) > 0 {
				panic(fmt.Sprintf("a node joined, and %d apps move", len(changes)))
			}
		})
	}
	return nil
}
