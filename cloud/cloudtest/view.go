package cloudtest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Noon is the time at which everything in a view was made.
var Noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// View reads a state and what was observed. Apps and slots without one belong to app shop. The state is
//
//	node n1 zone=a memory=8G cpu=2000 drain
//	app shop current=1 rollout=2 recreate released
//	release shop@r1 gen=0 web=2 worker=1 of=512M batch=2 surge=0 up staged warm stopped failed command volume recreate place=disk:ssd
//	place web.0@r1 n1 gen=0 token=3 alone leaving
//	decided shop@r1
//	home shop n1
//	moves shop n2
//	restores shop
//
// where a cloud without nodes has one, n1, and "decided" is an assignment without places. What was observed is
//
//	web.0@r1 ready gen=0 token=3 node=n1 older
//	crashed web.0@r1 next=30s gen=0
//	dead n1
//	unknown n1
//	left web.0@r1 n1 token=3
func View(t testing.TB, state, seen string) cloud.View {
	t.Helper()
	r := &reader{TB: t, assignments: map[cloud.ReleaseRef]*cloud.Assignment{}}
	s := cloud.NewState()
	r.changes = s.Init(cloud.Stamp{At: Noon})
	for line := range strings.Lines(state) {
		if words := strings.Fields(line); len(words) > 0 {
			r.object(words)
		}
	}
	for _, a := range r.assignments {
		r.changes = append(r.changes, cloud.Put(a))
	}
	if len(r.nodes) == 0 {
		r.put(&cloud.Node{Name: "n1"})
		r.nodes = append(r.nodes, "n1")
	}
	r.seen = cloud.NewInstances()
	for _, n := range r.nodes {
		r.seen = r.seen.WithNode(&cloud.NodeStatus{Name: n, Alive: true})
	}
	for line := range strings.Lines(seen) {
		if words := strings.Fields(line); len(words) > 0 {
			r.observed(words)
		}
	}
	return cloud.View{State: s.Apply(1, r.changes), Instances: r.seen}
}

type reader struct {
	testing.TB
	changes     []cloud.Change
	assignments map[cloud.ReleaseRef]*cloud.Assignment
	nodes       []cloud.NodeName
	seen        *cloud.Instances
	instances   int
}

func (r *reader) put(o cloud.Object) { r.changes = append(r.changes, cloud.Put(o)) }

func (r *reader) object(words []string) {
	switch words[0] {
	case "node":
		r.node(words[1], words[2:])
	case "app":
		r.app(r.ref(words[1]), words[2:])
	case "release":
		r.release(r.ref(words[1]), words[2:])
	case "place":
		r.place(words)
	case "decided":
		r.assignment(r.ref(words[1]))
	case "home":
		r.put(&cloud.Home{AppRef: r.ref(words[1]).AppRef, Node: cloud.NodeName(words[2])})
	case "moves":
		r.put(&cloud.VolumeWork{AppRef: r.ref(words[1]).AppRef, ID: "w1", To: cloud.NodeName(words[2]), Halts: true})
	case "restores":
		r.put(&cloud.VolumeWork{AppRef: r.ref(words[1]).AppRef, ID: "w1", Volume: "data"})
	default:
		r.Fatalf("no object %q", words[0])
	}
}

func (r *reader) node(name string, words []string) {
	n := &cloud.Node{Name: cloud.NodeName(name)}
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "zone", "disk":
			if n.Labels == nil {
				n.Labels = map[string]string{}
			}
			n.Labels[key] = value
		case "memory":
			n.Capacity.Memory = r.size(value)
		case "cpu":
			n.Capacity.CPU = int64(r.number(value))
		case "drain":
			n.Drain = true
		default:
			r.Fatalf("a node has no %q", word)
		}
	}
	r.put(n)
	r.nodes = append(r.nodes, n.Name)
}

func (r *reader) app(ref cloud.ReleaseRef, words []string) {
	app := &cloud.App{AppRef: ref.AppRef}
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "current":
			app.Current = r.number(value)
		case "rollout":
			app.Rollout = &cloud.Rollout{To: r.number(value), Started: Noon, Strategy: cloud.Strategy{Kind: cloud.Rolling}}
		case "recreate":
			app.Rollout.Strategy.Kind = cloud.Recreate
		case "released":
			app.Rollout.Released = true
		default:
			r.Fatalf("an app has no %q", word)
		}
	}
	r.put(app)
}

func (r *reader) release(ref cloud.ReleaseRef, words []string) {
	rel := &cloud.Release{ReleaseRef: ref, Created: Noon, Since: Noon, Formation: cloud.Formation{}, Spec: cloud.Spec{
		Strategy: cloud.Strategy{Kind: cloud.Rolling}, Processes: map[cloud.ProcessName]cloud.Process{},
	}}
	memory := int64(0)
	for _, word := range words {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "gen":
			rel.Generation = r.number(value)
		case "of":
			memory = r.size(value)
		case "batch":
			rel.Spec.Strategy.Batch = r.number(value)
		case "surge":
			rel.Spec.Strategy.Surge = new(r.number(value))
		case "recreate":
			rel.Spec.Strategy.Kind = cloud.Recreate
		case "volume":
			rel.Spec.Volumes = []cloud.Volume{{Name: "data", Path: "/data"}}
		case "place":
			label, value, _ := strings.Cut(value, ":")
			rel.Spec.Place = map[string]string{label: value}
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
			rel.Warm = new(Noon.Add(time.Minute))
		default:
			rel.Formation[cloud.ProcessName(key)] = cloud.Scale{Instances: r.number(value)}
			rel.Spec.Processes[cloud.ProcessName(key)] = cloud.Process{}
		}
	}
	for name, scale := range rel.Formation {
		scale.Memory = memory
		rel.Formation[name] = scale
	}
	r.put(rel)
}

func (r *reader) assignment(ref cloud.ReleaseRef) *cloud.Assignment {
	a := r.assignments[ref]
	if a == nil {
		a = &cloud.Assignment{ReleaseRef: ref, Of: Noon}
		r.assignments[ref] = a
	}
	return a
}

func (r *reader) place(words []string) {
	slot := r.slot(words[1])
	p := cloud.Place{Process: slot.Process, Index: slot.Index, Node: cloud.NodeName(words[2])}
	for _, word := range words[3:] {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "gen":
			p.Generation = r.number(value)
		case "token":
			p.Token = cloud.Revision(r.number(value))
		case "of":
			p.Memory = r.size(value)
		case "alone":
			p.Alone = true
		case "leaving":
			p.Leaving = true
		default:
			r.Fatalf("a place has no %q", word)
		}
	}
	a := r.assignment(slot.ReleaseRef)
	a.Places = append(a.Places, p)
}

func (r *reader) observed(words []string) {
	switch words[0] {
	case "crashed":
		r.crashed(words)
	case "dead":
		r.seen = r.seen.WithNode(&cloud.NodeStatus{Name: cloud.NodeName(words[1])})
	case "unknown":
		r.seen = r.seen.WithoutNode(cloud.NodeName(words[1]))
	case "left":
		l := &cloud.Left{Slot: r.slot(words[1]), Node: cloud.NodeName(words[2])}
		if len(words) > 3 {
			l.Token = cloud.Revision(r.number(strings.TrimPrefix(words[3], "token=")))
		}
		r.seen = r.seen.WithLeft(l)
	default:
		r.instance(words)
	}
}

func (r *reader) crashed(words []string) {
	c := &cloud.Crashes{Slot: r.slot(words[1]), Count: 4, Last: cloud.Exit{Code: 1, At: Noon}}
	for _, word := range words[2:] {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "next":
			d, err := time.ParseDuration(value)
			if err != nil {
				r.Fatal(err)
			}
			c.NextTry = Noon.Add(d)
		case "gen":
			c.Generation = r.number(value)
		default:
			r.Fatalf("crashes have no %q", word)
		}
	}
	r.seen = r.seen.WithCrashes(c)
}

func (r *reader) instance(words []string) {
	r.instances++
	i := &cloud.Instance{
		ID: cloud.InstanceID(fmt.Sprintf("i%d", r.instances)), Slot: r.slot(words[0]), Phase: cloud.InstancePhase(words[1]), Node: "n1",
	}
	if i.Process == cloud.Web {
		i.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.instances)}), 8080)
	}
	for _, word := range words[2:] {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "gen":
			i.Generation = r.number(value)
		case "token":
			i.Token = cloud.Revision(r.number(value))
		case "node":
			i.Node = cloud.NodeName(value)
		case "older":
			i.Of = Noon.Add(-time.Hour)
		default:
			r.Fatalf("an instance has no %q", word)
		}
	}
	r.seen = r.seen.With(i)
}

func (r *reader) ref(text string) cloud.ReleaseRef {
	ref, err := cloud.ParseRef(text, cloud.DefaultGroup)
	if err != nil {
		r.Fatal(err)
	}
	return ref
}

// slot reads "web.0@r1", of app shop, or "blog/web.0@r1".
func (r *reader) slot(text string) cloud.Slot {
	app, rest, other := strings.Cut(text, "/")
	if !other {
		app, rest = "shop", text
	}
	process, rest, _ := strings.Cut(rest, ".")
	index, release, _ := strings.Cut(rest, "@r")
	return cloud.Slot{
		ReleaseRef: cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(app)}.Release(r.number(release)),
		Process:    cloud.ProcessName(process), Index: r.number(index),
	}
}

func (r *reader) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		r.Fatal(err)
	}
	return n
}

func (r *reader) size(text string) int64 {
	n, err := cloud.ParseSize(text)
	if err != nil {
		r.Fatal(err)
	}
	return n
}
