package cloud

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Only what changed is looked at, and what is due.
func TestWorklist(t *testing.T) {
	y := begin(t)
	y.push(shop, PushSpec{}, false)
	y.push(blog, PushSpec{}, false)
	v := View{State: y.s, Instances: NewInstances()}
	var work Worklist
	next := func(what string, now time.Time, want ...AppRef) {
		t.Helper()
		if got := work.Next(v, now); !slices.Equal(got, want) {
			t.Errorf("%s: looks at %v, want %v", what, got, want)
		}
	}
	next("the first time", noon, blog, shop)
	next("nothing changed", noon)
	y.push(shop, PushSpec{}, false)
	v.State = y.s
	next("a push", noon, shop)
	v.Instances = v.Instances.With(&Instance{ID: "i", Slot: Slot{ReleaseRef: blog.Release(1)}})
	next("an instance", noon, blog)
	v.State = v.State.Apply(v.State.Rev()+1, []Change{Put(&Assignment{ReleaseRef: shop.Release(1)})})
	next("an assignment", noon, shop)
	v.State = v.State.Apply(v.State.Rev()+1, []Change{Put(&VirtualHost{Host: "www.example.com", Routes: []Route{{Path: "/", Targets: []Target{{ReleaseRef: blog.Release(1)}}}}})})
	next("a route", noon, blog)
	v.State = v.State.Apply(v.State.Rev()+1, []Change{Put(&Node{Name: "n1"})})
	next("a node", noon)
	v.Instances = v.Instances.WithLeft(&Left{Slot: Slot{ReleaseRef: shop.Release(1)}, Node: "n1"})
	next("a slot that was left", noon, shop)

	work.Due(shop, noon.Add(time.Minute))
	work.Due(shop, noon.Add(time.Hour))
	work.Due(blog, time.Time{})
	if got := work.Earliest(); !got.Equal(noon.Add(time.Minute)) {
		t.Errorf("due at %v, want in a minute", got)
	}
	next("not due yet", noon.Add(time.Second))
	next("due", noon.Add(time.Minute), shop)
	next("was due", noon.Add(2*time.Hour))
	if got := work.Earliest(); !got.IsZero() {
		t.Errorf("due at %v, want never", got)
	}

	for k := range changeLogSteps + 1 {
		v.Instances = v.Instances.With(&Instance{ID: InstanceID(fmt.Sprint(k)), Slot: Slot{ReleaseRef: shop.Release(1)}})
	}
	next("changes that nobody remembers", noon, blog, shop)
	y.s = v.State
	changes, err := y.s.Delete(blog.Release(0))
	y.do(changes, err)
	v.State = y.s
	next("an app that was deleted", noon, blog)
	work = Worklist{}
	next("of which an instance is left", noon, blog, shop)
}

// Nodes that came, changed, died or went are found.
func TestTouchedNodes(t *testing.T) {
	v := View{State: begin(t).s, Instances: NewInstances()}
	touched := func(what string, now View, want ...NodeName) {
		t.Helper()
		nodes, ok := now.TouchedNodes(v)
		var got []NodeName
		for n := range nodes {
			got = append(got, n)
		}
		slices.Sort(got)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %v (%v), want %v", what, got, ok, want)
		}
		v = now
	}
	touched("a node joins", View{v.State.Apply(v.State.Rev()+1, []Change{Put(&Node{Name: "n1"})}), v.Instances}, "n1")
	touched("it lives", View{v.State, v.Instances.WithNode(&NodeStatus{Name: "n1", Alive: true})}, "n1")
	touched("another one does", View{v.State, v.Instances.WithNode(&NodeStatus{Name: "n2", Alive: true})}, "n2")
	touched("an instance starts", View{v.State, v.Instances.With(&Instance{ID: "i", Slot: Slot{ReleaseRef: shop.Release(1)}})})
	touched("one dies, one is forgotten", View{v.State, v.Instances.WithNode(&NodeStatus{Name: "n1"}).WithoutNode("n2")}, "n1", "n2")
	touched("one goes", View{v.State.Apply(v.State.Rev()+1, []Change{{Key: "nodes/n1"}}), v.Instances}, "n1")
}

// A node that is started under another name has what it had.
func TestSoleNode(t *testing.T) {
	y := begin(t)
	y.do(y.s.SoleNode(Node{Name: "n1"}, 100), nil)
	for k := range 5 {
		app := AppRef{DefaultGroup, AppName(fmt.Sprintf("app-%d", k))}
		y.do([]Change{Put(&Assignment{ReleaseRef: app.Release(1), Places: []Place{{Process: Web, Node: "n1", Memory: 1}}}), Put(&Home{app, "n1"})}, nil)
	}
	if changes := y.s.SoleNode(Node{Name: "n1"}, 100); len(changes) > 0 {
		t.Errorf("the same name changes %v", changes)
	}
	for calls := 0; ; calls++ {
		changes := y.s.SoleNode(Node{Name: "n2"}, 3)
		if len(changes) == 0 {
			break
		}
		if len(changes) > 3 || calls > 10 {
			t.Fatalf("%d changes in call %d", len(changes), calls)
		}
		y.do(changes, nil)
	}
	for a := range y.s.AllAssignments() {
		if a.Places[0].Node != "n2" {
			t.Errorf("%s is on %s", a.ReleaseRef, a.Places[0].Node)
		}
	}
	for h := range y.s.Homes() {
		if h.Node != "n2" {
			t.Errorf("the volumes of %s are on %s", h.AppRef, h.Node)
		}
	}
	if nodes := slices.Collect(y.s.Nodes()); len(nodes) != 1 || nodes[0].Name != "n2" {
		t.Errorf("nodes are %v", nodes)
	}
	if a, b := y.s.Used("n1"), y.s.Used("n2"); a != (Use{}) || b != (Use{Capacity{Memory: 5}, 5}) {
		t.Errorf("n1 has %+v, n2 %+v", a, b)
	}
}
