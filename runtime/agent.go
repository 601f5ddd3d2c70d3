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

// router is how the agent takes an instance out of service: Drain returns when nothing is in flight to
// it any more and nothing can be, or when ctx ends.
type router interface {
	Drain(ctx context.Context, id cloud.InstanceID) error
}

// logs keeps what instances print. Open returns the file that an instance's output goes to and begins
// to read it; Copy takes over what there is of it; Done says that nothing more will come; Sweep removes the files that nobody has opened.
type logs interface {
	Open(i *cloud.Instance) (path string, err error)
	Copy(id cloud.InstanceID)
	Done(id cloud.InstanceID)
	Sweep() error
}

// memory keeps what must outlive a restart of the node and is nobody else's business.
type memory interface {
	Save(ctx context.Context, c *cloud.Crashes) error
	Forget(ctx context.Context, s cloud.Slot) error
	Load(ctx context.Context) ([]*cloud.Crashes, error)
}

// imageStore has the images that releases run.
type imageStore interface {
	Get(ctx context.Context, digest string) (Image, error)
}

// Config is what an agent needs. All of it is required.
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
	// Volume makes the folder of an app's volume on this node where it is missing, and returns it.
	Volume func(cloud.AppRef, cloud.Volume) (string, error)
	Log    *slog.Logger
	Now    func() time.Time
	// Suffix makes instance IDs unique: four or more of [a-z0-9].
	Suffix func() string
}

// Agent makes the instances of its node be what the state asks for. It is the one writer of what is
// observed of them.
type Agent struct {
	Config
	site    site
	ask     func(context.Context, cloud.Check, netip.AddrPort) error // probe, but in tests
	slots   chan struct{}                                            // bounds how many containers start at a time
	measure sync.Mutex                                               // held while an instance's files are looked at
	growth  growth
	mu      sync.Mutex
	workers map[cloud.InstanceID]*worker
	running sync.WaitGroup
}

// startsAtOnce is how many containers a node starts at a time: more only take turns on the disk.
const startsAtOnce = 8

// NewAgent returns an agent that does nothing yet.
func NewAgent(c Config) *Agent {
	return &Agent{
		Config:  c,
		site:    site{domain: c.Domain, cores: int64(c.Cores) * 1000},
		ask:     probe,
		slots:   make(chan struct{}, startsAtOnce),
		growth:  growth{seen: make(chan struct{})},
		workers: map[cloud.InstanceID]*worker{},
	}
}

// Run takes over the instances that run already, says so by calling ready, and then keeps the node
// as the state wants it until ctx ends. Instances run on after that.
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

// do begins a step. What it begins is seen in the snapshots before do returns.
func (a *Agent) do(ctx context.Context, s Step) {
	switch s.Do {
	case Start:
		i := &cloud.Instance{
			ID: a.newID(s.Slot), Slot: s.Slot, Generation: s.Generation, Of: s.Of, Token: s.Token, Node: a.Node,
			Phase: cloud.InstanceStarting, Since: a.Now(),
		}
		a.see(i)
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

// newID is "shop-r7-web-0-k3x9", with the group in front outside the default one.
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

// volumes are the folders that a release has mounted.
func (a *Agent) volumes(rel *cloud.Release) (mounts []Mount, err error) {
	for _, v := range rel.Spec.Volumes {
		folder, err := a.Volume(rel.AppRef, v)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, Mount{Source: folder, Target: v.Path})
	}
	return mounts, nil
}

// see shows an instance in the snapshots.
func (a *Agent) see(i *cloud.Instance) {
	a.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.With(i) })
}

// work lets a worker do what it does for its instance, to whose end it stays with it.
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

// adopt takes over the containers that are there, and returns when each has been asked once whether it
// is well: a node that has just come back knows where to send requests before it takes any.
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
		o = o.WithNode(&cloud.NodeStatus{Name: a.Node, Alive: true})
		for _, c := range crashes {
			o = o.WithCrashes(c)
		}
		return o
	})
	var asked sync.WaitGroup
	for _, r := range list {
		if r.Labels[labelOnce] != "" {
			// The person it was made for has gone with the process before this one.
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
			a.Log.Error("the instance's output is not read", "instance", r.ID, "err", err)
		}
		asked.Go(func() { a.takeOver(ctx, i, r.Exit) })
	}
	asked.Wait()
	a.Log.Info("adopted instances", "count", len(list))
	return a.Logs.Sweep()
}

// takeOver gives an instance that was there before its worker.
func (a *Agent) takeOver(ctx context.Context, i *cloud.Instance, exit *Exit) {
	if rel, ok := a.Views.View().State.Release(i.ReleaseRef); ok && exit == nil && i.Process != cloud.ReleaseCommand {
		p := rel.Spec.Processes[i.Process]
		if err := a.ask(ctx, p.Liveness, i.Addr); err == nil || shortage(err) {
			err := a.ask(ctx, p.Readiness, i.Addr)
			switch {
			case err == nil, shortage(err):
				i.Phase, i.Since = cloud.InstanceReady, i.Started // as far as anybody knows
			case a.Now().Sub(i.Started) > time.Duration(p.Startup):
				i.Phase, i.Reason = cloud.InstanceUnready, err.Error() // else it would have been given up
			}
		}
	}
	a.see(i)
	w := newWorker(a, i)
	w.readied = i.Started
	if exit != nil {
		a.work(w, func() { w.exited(ctx, *exit, exit.Reason, false) })
		return
	}
	a.work(w, func() { w.run(ctx, true) })
}

// forget drops what is known of slots of an app that are no more: their crashes, and that they were left.
func (a *Agent) forget(ctx context.Context, v cloud.View, app cloud.AppRef) {
	for c := range v.Instances.CrashesOf(app) {
		rel, ok := v.State.Release(c.ReleaseRef)
		if ok && c.Generation == rel.Generation && c.Index < rel.Formation[c.Process].Instances {
			continue
		}
		if err := a.Memory.Forget(ctx, c.Slot); err != nil {
			a.Log.Error("cannot forget the crashes of a slot that is gone", "slot", c.Slot.String(), "err", err)
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

// isLeaving says whether whoever gives places still waits to hear that a slot was left.
func isLeaving(s *cloud.State, l *cloud.Left) bool {
	a, ok := s.Assignment(l.ReleaseRef)
	return ok && slices.ContainsFunc(a.Places, func(p cloud.Place) bool {
		return p.Leaving && p.Process == l.Process && p.Index == l.Index && p.Node == l.Node
	})
}
