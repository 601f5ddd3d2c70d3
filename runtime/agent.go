package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// router takes instances out of service. Drain returns when the instance has no requests in flight and can't get
// new ones, or when ctx ends.
type router interface {
	Drain(ctx context.Context, id cloud.InstanceID) error
}

// logs stores the output of instances. Open returns the file for an instance's output and starts reading it; Copy
// copies the output so far; Done says that there will be no more output; Sweep removes files of instances that were
// not opened.
type logs interface {
	Open(i *cloud.Instance) (path string, err error)
	Copy(id cloud.InstanceID)
	Done(id cloud.InstanceID)
	Sweep() error
}

// memory stores the crash counts of this node's instances over a restart of micro.
type memory interface {
	Save(ctx context.Context, c *cloud.Crashes) error
	Forget(ctx context.Context, s cloud.Slot) error
	Load(ctx context.Context) ([]*cloud.Crashes, error)
}

// imageStore returns the images of releases. An error of code Unavailable says that a later attempt may succeed.
type imageStore interface {
	Get(ctx context.Context, digest string) (Image, error)
}

// Config configures an agent. All fields but Leased are required.
type Config struct {
	Node   cloud.NodeName
	Domain cloud.Domain
	Cores  int // of the machine
	Driver Driver
	Images imageStore
	Views  *cloud.Cell
	Router router
	Logs   logs
	Memory memory
	// Volume returns the folder of an app's volume on this node, and creates it if it is missing.
	Volume func(cloud.AppRef, cloud.Volume) (string, error)
	// Leased says that other nodes may run this node's instances when its lease ends. Whoever keeps the lease observes the
	// node's status. On a node that is the whole cloud the agent does.
	Leased bool
	Log    *slog.Logger
	Now    func() time.Time
	// Suffix returns a random text that makes instance IDs unique: four or more of [a-z0-9].
	Suffix func() string
}

// Agent starts and ends the instances of its node as the state asks for. Only the agent writes the observed
// instances of its node.
type Agent struct {
	Config
	facts   nodeFacts
	ask     func(context.Context, cloud.Protocol, cloud.Check, netip.AddrPort) error // probe, replaced in tests
	slots   chan struct{}                                                            // limits how many containers start at a time
	measure sync.Mutex                                                               // held while an instance's files are measured
	growth  growth
	pauses  pauses
	mu      sync.Mutex
	workers map[cloud.InstanceID]*worker
	running sync.WaitGroup
}

// startsAtOnce is how many containers a node starts at a time. More would only compete for the disk.
const startsAtOnce = 8

// NewAgent returns an agent. It does nothing before Run.
func NewAgent(c Config) *Agent {
	return &Agent{
		Config:  c,
		facts:   nodeFacts{domain: c.Domain, cores: int64(c.Cores) * 1000},
		ask:     probe,
		slots:   make(chan struct{}, startsAtOnce),
		growth:  growth{seen: make(chan struct{})},
		workers: map[cloud.InstanceID]*worker{},
	}
}

// Run adopts the instances that already run, calls ready, and then carries out plans until ctx ends. Instances keep
// running after that.
func (a *Agent) Run(ctx context.Context, ready func()) error {
	defer a.running.Wait()
	if err := a.adopt(ctx); err != nil {
		return err
	}
	ready()
	a.running.Go(func() { a.watchDisk(ctx) })
	var work cloud.Worklist
	view := a.Views.View()
	for {
		now := a.Now()
		for _, app := range work.Next(view, now) {
			steps, again := Plan(view, a.Node, app, now)
			work.Due(app, again)
			for _, s := range steps {
				a.do(ctx, s)
			}
			a.forget(ctx, view, app)
		}
		var err error
		if view, err = cloud.ChangedWithin(ctx, a.Views, view, cloud.Until(work.Earliest(), a.Now())); err != nil {
			return nil
		}
	}
}

// do starts a step. Its first effect is visible in the snapshots before do returns.
func (a *Agent) do(ctx context.Context, s Step) {
	switch s.Do {
	case Start:
		i := &cloud.Instance{
			ID: a.newID(s.Slot), Slot: s.Slot, Generation: s.Generation, Of: s.Of, Token: s.Token, Node: a.Node,
			Phase: cloud.InstanceStarting, Since: a.Now(),
		}
		a.observe(i)
		w := newWorker(a, i)
		a.work(w, func() { w.run(ctx, false) })
	case Leave:
		a.Views.Observe(func(o *cloud.Instances) *cloud.Instances {
			return o.WithLeft(&cloud.Left{Slot: s.Slot, Node: a.Node, Token: s.Token})
		})
	case Drain, Remove:
		a.mu.Lock()
		w := a.workers[s.ID]
		a.mu.Unlock()
		switch {
		case w != nil && (s.Do == Drain || s.Slot.Process == cloud.ReleaseCommand):
			w.drain(s.Linger)
		case s.Do == Remove:
			a.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.Without(s.ID) })
		}
	}
}

// newID returns an ID such as "shop-r7-web-0-k3x9", with the group in front unless it is the default one.
func (a *Agent) newID(s cloud.Slot) cloud.InstanceID {
	name := fmt.Sprintf("%s-r%d-%s-%d", s.App, s.N, s.Process, s.Index)
	if s.Group != cloud.DefaultGroup {
		name = string(s.Group) + "-" + name
	}
	suffix := a.Suffix()
	if room := 62 - len(suffix); len(name) > room {
		name = strings.TrimRight(name[:room], "-")
	}
	return cloud.InstanceID(name + "-" + suffix)
}

// mayMount reports why a release's volumes cannot be used on this node now.
func (a *Agent) mayMount(s *cloud.State, rel *cloud.Release) error {
	if len(rel.Spec.Volumes) == 0 {
		return nil
	}
	if w, busy := s.HaltingWork(rel.AppRef); busy {
		return cloud.Errorf(cloud.Unavailable, "app %s does not run, because %s", rel.AppRef, w.Reason())
	}
	if home, ok := s.Home(rel.AppRef); ok && home.Node != a.Node {
		return cloud.Errorf(cloud.Unavailable, "node %s has the volumes of %s", home.Node, rel.AppRef)
	}
	return nil
}

// volumes returns the mounts of a release's volumes.
func (a *Agent) volumes(rel *cloud.Release) (mounts []Mount, err error) {
	if err := a.mayMount(a.Views.View().State, rel); err != nil {
		return nil, err
	}
	for _, v := range rel.Spec.Volumes {
		folder, err := a.Volume(rel.AppRef, v)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, Mount{Source: folder, Target: v.Path})
	}
	return mounts, nil
}

// observe puts an instance into the snapshots.
func (a *Agent) observe(i *cloud.Instance) {
	a.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.With(i) })
}

// work runs a worker until its instance has ended.
func (a *Agent) work(w *worker, do func()) {
	a.mu.Lock()
	a.workers[w.i.ID] = w
	a.mu.Unlock()
	a.running.Go(func() {
		do()
		a.mu.Lock()
		delete(a.workers, w.i.ID)
		a.mu.Unlock()
	})
}

// adopt takes over the existing containers, and returns when each has been checked once, so that a node which has
// just restarted knows where to send requests before it accepts any.
func (a *Agent) adopt(ctx context.Context) error {
	crashes, err := a.Memory.Load(ctx)
	if err != nil {
		return err
	}
	list, err := a.Driver.List(ctx)
	if err != nil {
		return err
	}
	a.Views.Observe(func(o *cloud.Instances) *cloud.Instances {
		if !a.Leased {
			o = o.WithNode(&cloud.NodeStatus{Name: a.Node, Alive: true})
		}
		for _, c := range crashes {
			c.Node = a.Node
			o = o.WithCrashes(c)
		}
		return o
	})
	var asked sync.WaitGroup
	for _, r := range list {
		if r.Labels[labelOnce] != "" {
			// The caller's connection ended with the previous process, so nobody waits for this command.
			if err := a.Driver.Remove(ctx, r.ID); err != nil {
				return err
			}
		}
		i, ok := adopted(r, a.Node)
		if !ok {
			continue
		}
		i.Since = a.Now()
		if _, err := a.Logs.Open(i); err != nil {
			a.Log.Error("cannot read the instance's output", "instance", r.ID, "err", err)
		}
		asked.Go(func() { a.takeOver(ctx, i, r.Exit) })
	}
	asked.Wait()
	a.Log.Info("adopted instances", "count", len(list))
	return a.Logs.Sweep()
}

// takeOver starts a worker for an adopted instance.
func (a *Agent) takeOver(ctx context.Context, i *cloud.Instance, exit *Exit) {
	if rel, ok := a.Views.View().State.Release(i.ReleaseRef); ok && exit == nil && i.Process != cloud.ReleaseCommand {
		p := rel.Spec.Processes[i.Process]
		if err := a.check(ctx, i, p.Protocol, p.Liveness); err == nil || shortage(err) {
			err := a.check(ctx, i, p.Protocol, p.Readiness)
			switch {
			case err == nil, shortage(err):
				i.Phase, i.Since = cloud.InstanceReady, i.Started // with a shortage, assume that it is ready
			case a.Now().Sub(i.Started) > time.Duration(p.Startup):
				i.Phase, i.Reason = cloud.InstanceUnready, err.Error() // it must have been ready before, or it would have been ended
			}
		}
	}
	a.observe(i)
	w := newWorker(a, i)
	w.readied = i.Started
	if exit != nil {
		a.work(w, func() { w.exited(ctx, *exit, exit.Reason, false) })
		return
	}
	a.work(w, func() { w.run(ctx, true) })
}

// forget deletes the crash counts and the left marks of an app's slots that no longer exist.
func (a *Agent) forget(ctx context.Context, v cloud.View, app cloud.AppRef) {
	for c := range v.Instances.CrashesOf(app) {
		rel, ok := v.State.Release(c.ReleaseRef)
		if c.Node != a.Node || ok && c.Generation == rel.Generation && c.Index < rel.Formation[c.Process].Instances {
			continue
		}
		if err := a.Memory.Forget(ctx, c.Slot); err != nil {
			a.Log.Error("cannot delete the crash count of a slot that no longer exists", "slot", c.Slot.String(), "err", err)
			continue
		}
		a.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.WithoutCrashes(c.Slot) })
	}
	for l := range v.Instances.LeftOf(app) {
		if l.Node == a.Node && !isLeaving(v.State, l) {
			a.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.WithoutLeft(l.Slot, l.Node) })
		}
	}
}

// isLeaving reports whether the leader still waits for the node to leave a place.
func isLeaving(s *cloud.State, l *cloud.Left) bool {
	a, ok := s.Assignment(l.ReleaseRef)
	return ok && slices.ContainsFunc(a.Places, func(p cloud.Place) bool {
		return p.Leaving && p.Process == l.Process && p.Index == l.Index && p.Node == l.Node
	})
}
