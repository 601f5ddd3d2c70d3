package presence

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/kv"
)

// world is nodes on one engine.
type world struct {
	*testing.T
	engine kv.Engine
	state  *cloud.State
}

// node is one of them. Its context ends when it is stopped.
type node struct {
	*Presence
	stop func()
}

var shop = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := boltkv.Open(boltkv.Config{Dir: filepath.Join(t.TempDir(), "store"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := cloud.NewState()
	s = s.Apply(1, append(s.Init(cloud.Stamp{}), cloud.Put(&cloud.Node{Name: "n1"}), cloud.Put(&cloud.Node{Name: "n2"}), cloud.Put(&cloud.App{AppRef: shop})))
	return &world{t, db, s}
}

func (w *world) start(name cloud.NodeName, lead func(context.Context) error) *node {
	w.Helper()
	p := &Presence{Node: name, Engine: w.engine, Views: cloud.NewCell(), Log: slog.New(slog.DiscardHandler), Routers: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	p.Views.SetState(w.state)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	followed := make(chan struct{})
	for _, run := range []func(context.Context) error{
		p.Keep, p.Publish, func(ctx context.Context) error { return p.Follow(ctx, followed) }, func(ctx context.Context) error { return p.Lead(ctx, lead) },
	} {
		running.Go(func() { _ = run(ctx) })
	}
	n := &node{p, sync.OnceFunc(func() { cancel(); running.Wait() })}
	w.Cleanup(n.stop)
	<-followed
	return n
}

// await waits until a view of the node is as it must be.
func (w *world) await(n *node, about string, so func(*cloud.Instances) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	view := n.Views.View()
	for err := error(nil); !so(view.Instances); {
		if view, err = n.Views.Changed(ctx, view); err != nil {
			w.Fatalf("%s: not so", about)
		}
	}
}

func instance(id cloud.InstanceID, on cloud.NodeName) *cloud.Instance {
	return &cloud.Instance{ID: id, Slot: cloud.Slot{ReleaseRef: shop.Release(1), Process: cloud.Web}, Node: on, Phase: cloud.InstanceReady, Addr: netip.MustParseAddrPort("10.0.0.1:8080")}
}

func idle(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// TestObserve has one node tell another what it observes, until it leaves.
func TestObserve(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start("n1", idle), w.start("n2", idle)
	see := func(change func(*cloud.Instances) *cloud.Instances) { n1.Views.Observe(change) }
	crash := &cloud.Crashes{Slot: instance("a", "n1").Slot, Node: "n1", Count: 2, Last: cloud.Exit{At: time.Unix(5, 0).UTC()}}
	left := &cloud.Left{Slot: crash.Slot, Node: "n1", Token: 7}
	see(func(o *cloud.Instances) *cloud.Instances {
		return o.With(instance("a", "n1")).With(instance("b", "n1")).With(instance("other", "n2")).WithCrashes(crash).WithLeft(left)
	})
	w.await(n2, "n2 sees what n1 observes", func(o *cloud.Instances) bool {
		a, ok := o.Get("a")
		c, crashed := o.Crashes(crash.Slot)
		token, gone := o.Left(left.Slot, "n1")
		s, known := o.NodeStatus("n1")
		return ok && a.Addr.Port() == 8080 && crashed && c.Count == 2 && gone && token == 7 && known && s.Alive && len(s.Routers) == 1
	})
	if _, ok := n2.Views.View().Instances.Get("other"); ok {
		t.Error("n1 speaks for n2")
	}
	see(func(o *cloud.Instances) *cloud.Instances {
		return o.Without("a").WithoutCrashes(crash.Slot).WithoutLeft(left.Slot, "n1")
	})
	w.await(n2, "n2 sees what is gone", func(o *cloud.Instances) bool {
		_, a := o.Get("a")
		_, b := o.Get("b")
		_, crashed := o.Crashes(crash.Slot)
		_, gone := o.Left(left.Slot, "n1")
		return !a && b && !crashed && !gone
	})
	n3 := w.start("n3", idle)
	w.await(n3, "a node that comes later sees all", func(o *cloud.Instances) bool { _, ok := o.Get("b"); return ok })
	n1.stop()
	if err := n1.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await(n2, "nothing is left of a node that has left", func(o *cloud.Instances) bool {
		_, b := o.Get("b")
		s, known := o.NodeStatus("n1")
		return !b && known && !s.Alive
	})
}

// TestReturn has a node that counts as dead come back. A change that was decided before must fail, or what the node starts
// would run elsewhere too.
func TestReturn(t *testing.T) {
	w := newWorld(t)
	first, err := w.engine.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: headKey, Value: []byte(`{"rev":1}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	n1 := w.start("n1", idle)
	if !n1.Holds(t.Context()) {
		t.Fatal("no lease")
	}
	move := kv.Txn{If: []kv.Cond{kv.Unchanged(headKey, first)}, Put: []kv.Put{{Key: headKey, Value: []byte(`{"rev":2}`)}}}
	if _, err := w.engine.Commit(t.Context(), move); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("a change that was decided before the node came back: %v", err)
	}
	if head, err := w.engine.Get(t.Context(), headKey); err != nil || string(head.Value) != `{"rev":1}` {
		t.Errorf("the head: %s, %v", head.Value, err)
	}
	if status, err := w.engine.Get(t.Context(), "seen/n1/node"); err != nil || status.Rev == 0 {
		t.Errorf("the node does not say that it is alive: %v", err)
	}
}

// TestStateReadAnew has a node that reads the whole state anew, as after a change of its store's engine or a long pause. It
// stays alive for the others, which must see everything as before.
func TestStateReadAnew(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start("n1", idle), w.start("n2", idle)
	n1.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.With(instance("a", "n1")) })
	alive := func(o *cloud.Instances) bool { s, ok := o.NodeStatus("n1"); return ok && s.Alive }
	w.await(n2, "n2 sees n1", func(o *cloud.Instances) bool { _, ok := o.Get("a"); return ok && alive(o) })
	s := cloud.NewState()
	anew := s.Apply(5, append(s.Init(cloud.Stamp{}), cloud.Put(&cloud.Node{Name: "n1"}), cloud.Put(&cloud.Node{Name: "n2"}), cloud.Put(&cloud.App{AppRef: shop})))
	n1.Views.SetState(anew)
	n1.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.With(instance("b", "n1")) })
	w.await(n2, "n2 sees what n1 says afterwards", func(o *cloud.Instances) bool { _, ok := o.Get("b"); return ok })
	if !alive(n2.Views.View().Instances) {
		t.Error("n1 is dead for n2")
	}
}

// TestPlacelessInstanceIsNotOffered has an instance that has lost its place while its node was away.
func TestPlacelessInstanceIsNotOffered(t *testing.T) {
	w := newWorld(t)
	a := &cloud.Assignment{ReleaseRef: shop.Release(1), Places: []cloud.Place{{Process: cloud.Web, Node: "n2", Token: 9}}}
	s := w.state.Apply(2, []cloud.Change{cloud.Put(a)})
	if got := offered(s, instance("a", "n1")); got.Phase != cloud.InstanceDraining {
		t.Errorf("it is offered as %s", got.Phase)
	}
	if got := offered(w.state, instance("a", "n1")); got.Phase != cloud.InstanceReady {
		t.Errorf("one that nobody has decided about is offered as %s", got.Phase)
	}
}

// TestOneLeader has two nodes of which one leads at a time, and the other when that one has gone.
func TestOneLeader(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	leading, most := 0, 0
	led := make(chan cloud.NodeName, 10)
	lead := func(name cloud.NodeName) func(context.Context) error {
		return func(ctx context.Context) error {
			mu.Lock()
			leading++
			most = max(most, leading)
			mu.Unlock()
			led <- name
			<-ctx.Done()
			mu.Lock()
			leading--
			mu.Unlock()
			return nil
		}
	}
	nodes := map[cloud.NodeName]*node{"n1": w.start("n1", lead("n1")), "n2": w.start("n2", lead("n2"))}
	first := <-led
	if name, err := nodes["n1"].Leader(t.Context()); err != nil || name != first {
		t.Errorf("the leader is said to be %q, %v", name, err)
	}
	if err := nodes[first].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes[first].stop()
	if second := <-led; second == first {
		t.Errorf("%s leads again", second)
	}
	if most != 1 {
		t.Errorf("%d nodes led at a time", most)
	}
}

// TestLeaderStops has a node that stops to lead while it still holds its lease: its duties must end first.
func TestLeaderStops(t *testing.T) {
	w := newWorld(t)
	n1 := w.start("n1", idle)
	w.await(n1, "n1 is alive", func(o *cloud.Instances) bool { s, ok := o.NodeStatus("n1"); return ok && s.Alive })
	ctx, cancel := context.WithCancel(t.Context())
	led, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- n1.Lead(ctx, func(ctx context.Context) error {
			close(led)
			<-ctx.Done()
			return nil
		})
	}()
	<-led
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the duties of a node that stops go on")
	}
}

// mute is an engine whose reads get no answer, and which counts them.
type mute struct {
	kv.Engine
	reads *int
}

func (m mute) Get(ctx context.Context, _ string) (kv.Pair, error) {
	*m.reads++
	<-ctx.Done()
	return kv.Pair{}, ctx.Err()
}

// TestLateRenewal has a node whose lease is renewed in time, and one whose voters no longer answer.
func TestLateRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		p := &Presence{Node: "n1", Engine: mute{reads: &reads}}
		p.setTerm(&Term{ID: 1})
		p.setRenewed(time.Now())
		time.Sleep(lateAfter - time.Millisecond)
		if !p.Holds(t.Context()) || reads != 0 {
			t.Errorf("in time: %d reads", reads)
		}
		time.Sleep(time.Millisecond)
		began := time.Now()
		if p.Holds(t.Context()) || reads != 1 || time.Since(began) != graceForLease {
			t.Errorf("late: %d reads in %s", reads, time.Since(began))
		}
	})
}

// late is an engine whose watches deliver nothing until they are let.
type late struct {
	kv.Engine
	deliver chan struct{}
}

func (l late) Watch(ctx context.Context, prefix string, since int64) iter.Seq2[kv.Batch, error] {
	return func(yield func(kv.Batch, error) bool) {
		for batch, err := range l.Engine.Watch(ctx, prefix, since) {
			select {
			case <-l.deliver:
			case <-ctx.Done():
				return
			}
			if !yield(batch, err) {
				return
			}
		}
	}
}

// TestObserved has a node whose watch is late. It must not decide by what it knows while it knows less than the head says.
func TestObserved(t *testing.T) {
	w := newWorld(t)
	engine := late{w.engine, make(chan struct{})}
	p := &Presence{Node: "n2", Engine: engine, Views: cloud.NewCell(), Log: slog.New(slog.DiscardHandler)}
	p.Views.SetState(w.state)
	if err := p.Observed(t.Context(), 100); err != nil {
		t.Errorf("before it follows the others, when none of them counts as dead: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	followed, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); _ = p.Follow(ctx, followed) }()
	defer func() { cancel(); <-ended }()
	<-followed
	rev, err := w.engine.Commit(t.Context(), kv.Txn{Put: []kv.Put{{Key: headKey, Value: []byte(`{"rev":1}`)}, {Key: "seen/n1/node", Value: []byte(`{}`)}}})
	if err != nil {
		t.Fatal(err)
	}
	impatient, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := p.Observed(impatient, rev); cloud.CodeOf(err) != cloud.Unavailable {
		t.Errorf("with less than the head says: %v", err)
	}
	close(engine.deliver)
	if err := p.Observed(t.Context(), rev); err != nil {
		t.Error(err)
	}
	if s, ok := p.Views.View().Instances.NodeStatus("n1"); !ok || !s.Alive {
		t.Error("the node that has come back counts as dead")
	}
}

// TestFenceFails has a node whose fence can't be moved. It must not count on its lease.
func TestFenceFails(t *testing.T) {
	w := newWorld(t)
	var broken atomic.Bool
	broken.Store(true)
	p := &Presence{Node: "n1", Engine: w.engine, Views: cloud.NewCell(), Log: slog.New(slog.DiscardHandler)}
	asked := make(chan struct{}, 100)
	p.Renewing = func() func() error {
		return func() error {
			asked <- struct{}{}
			if broken.Load() {
				return errors.New("no room")
			}
			return nil
		}
	}
	p.Views.SetState(w.state)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Keep(ctx) }()
	defer func() { cancel(); <-ended }()
	<-asked
	<-asked
	if s, ok := p.Views.View().Instances.NodeStatus("n1"); ok && s.Alive {
		t.Error("it counts on a lease that its fence does not know")
	}
	broken.Store(false)
	if w.await(&node{p, cancel}, "n1 has its lease", func(o *cloud.Instances) bool { s, ok := o.NodeStatus("n1"); return ok && s.Alive }); !p.Holds(ctx) {
		t.Error("no lease")
	}
}
