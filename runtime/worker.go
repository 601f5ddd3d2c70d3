package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// dnsTTL is how long others may hold the address of an instance that they asked for by name.
	dnsTTL = 5 * time.Second
	// livenessFailures is how many checks in a row must fail for an instance to be replaced.
	livenessFailures = 3
	// steady is how long an instance that answers no check must have run to count as well: one that ends at
	// once must not pass for one that came up.
	steady = time.Second
	// firstProbe is the pause after the first probe of a start; it grows to lastProbe.
	firstProbe = 500 * time.Microsecond
	lastProbe  = 250 * time.Millisecond
)

// worker stays with one instance from its start to its end. It alone changes what is shown of it.
type worker struct {
	*Agent
	i        cloud.Instance // what is shown; a copy goes to the snapshot cell at each change
	log      *slog.Logger
	readied  time.Time // when it first was ready
	draining chan struct{}
	once     sync.Once
	linger   bool // set before draining is closed
	ended    bool // its container has: nothing more comes of it
	disk     diskQuota
}

func newWorker(a *Agent, i *cloud.Instance) *worker {
	return &worker{
		Agent: a, i: *i, draining: make(chan struct{}),
		log: a.Log.With("app", i.AppRef.String(), "release", i.N, "instance", string(i.ID)),
	}
}

// drain asks the worker to bring its instance to an end.
func (w *worker) drain(linger bool) {
	w.once.Do(func() {
		w.linger = linger
		close(w.draining)
	})
}

// show puts the instance in the snapshots in a phase.
func (w *worker) show(p cloud.InstancePhase, reason string) {
	if w.i.Phase != p {
		w.i.Phase, w.i.Since = p, w.Now()
		w.log.Info("instance "+string(p), "reason", reason)
	}
	w.i.Reason = reason
	i := w.i
	w.see(&i)
}

func (w *worker) run(ctx context.Context, adopted bool) {
	p, ok := w.process()
	if !ok {
		// Of a release that is no more: Plan wants its end, and there is nothing to check until then.
		p = cloud.Process{Liveness: cloud.Check{Type: cloud.CheckProcess}, Readiness: cloud.Check{Type: cloud.CheckProcess}}
	}
	if !adopted && !w.start(ctx, p) {
		return
	}
	exit := w.wait(ctx)
	if w.i.Phase != cloud.InstanceStarting || w.up(ctx, p, exit) {
		w.watch(ctx, p, exit)
	}
}

func (w *worker) process() (cloud.Process, bool) {
	rel, ok := w.Views.View().State.Release(w.i.ReleaseRef)
	if !ok {
		return cloud.Process{}, false
	}
	p, ok := rel.Spec.Processes[w.i.Process]
	return p, ok
}

// start makes the container. After false there is none, and the snapshots show why.
func (w *worker) start(ctx context.Context, p cloud.Process) bool {
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.draining:
			cancel()
		case <-starting.Done():
		}
	}()
	r, err := w.persist(starting)
	switch {
	case err == nil:
		w.i.PID, w.i.Started = r.PID, r.Started
		w.i.Addr = netip.AddrPortFrom(r.IP, uint16(p.Port))
		w.show(cloud.InstanceStarting, "")
		return true
	case ctx.Err() != nil:
	case starting.Err() != nil:
		w.gone(ctx)
	default:
		code := cloud.CodeOf(err)
		w.exited(ctx, Exit{Code: 128, At: w.Now()}, "could not be started: "+err.Error(), code == cloud.Invalid || code == cloud.NotFound)
	}
	return false
}

// create asks the driver for the container that the state wants.
func (w *worker) create(ctx context.Context) (Running, error) {
	state := w.Views.View().State
	rel, ok := state.Release(w.i.ReleaseRef)
	if !ok {
		return Running{}, fmt.Errorf("release %s is gone", w.i.ReleaseRef)
	}
	group, ok := state.Group(rel.Group)
	if !ok {
		return Running{}, fmt.Errorf("group %s is gone", rel.Group)
	}
	image, err := w.Images.Get(ctx, rel.Spec.Image.Digest)
	if err != nil {
		return Running{}, err
	}
	volumes, err := w.volumes(rel)
	if err != nil {
		return Running{}, err
	}
	path, err := w.Logs.Open(&w.i)
	if err != nil {
		return Running{}, err
	}
	return w.Driver.Start(ctx, w.site.container(group, rel, &w.i, image, volumes, path))
}

// wait hands on how the container ends.
func (w *worker) wait(ctx context.Context) <-chan Exit {
	exit := make(chan Exit, 1)
	go func() {
		for ctx.Err() == nil {
			e, err := w.Driver.Wait(ctx, string(w.i.ID))
			if err == nil {
				exit <- e
				return
			}
			if ctx.Err() == nil {
				w.log.Error("cannot wait for the instance", "err", err)
				exit <- Exit{Lost: true, At: w.Now(), Reason: "was lost: " + err.Error()}
				return
			}
		}
	}()
	return exit
}

// up waits until the instance is well. After false it has ended, is about to, or ctx has.
func (w *worker) up(ctx context.Context, p cloud.Process, exit <-chan Exit) bool {
	if w.i.Process == cloud.ReleaseCommand {
		select {
		case e := <-exit:
			w.exited(ctx, e, e.Reason, false)
		case <-w.draining:
			w.end(ctx, p, exit)
		case <-ctx.Done():
		}
		return false
	}
	limit := time.NewTimer(time.Duration(p.Startup))
	defer limit.Stop()
	lookAround := time.NewTicker(2 * time.Second)
	defer lookAround.Stop()
	pause, began := firstProbe, w.Now()
	grown := w.growth.next()
	for {
		err := w.ask(ctx, p.Liveness, w.i.Addr)
		if err == nil {
			err = w.ask(ctx, p.Readiness, w.i.Addr)
		}
		if err == nil && unasked(p) && w.Now().Sub(began) < steady {
			err = errors.New("has only just started")
		}
		if w.i.Shortage = shortage(err); err == nil {
			w.readied = w.Now()
			w.show(cloud.InstanceReady, "")
			return true
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
			pause = min(pause*3/2, lastProbe)
		case <-lookAround.C:
			w.show(cloud.InstanceStarting, w.unwell(ctx, p, err))
		case <-grown:
			grown = w.growth.next()
			if reason, over := w.overQuota(ctx); over {
				again.Stop()
				w.giveUp(ctx, p, exit, reason)
				return false
			}
		case <-limit.C:
			again.Stop()
			if w.i.Shortage {
				// Nobody knows how the instance is. It gets its time anew, from when that can be found out.
				w.show(cloud.InstanceStarting, "can't be checked: "+err.Error())
				limit.Reset(time.Duration(p.Startup))
				continue
			}
			w.giveUp(ctx, p, exit, fmt.Sprintf("was not well within %s: %s", p.Startup, w.unwell(ctx, p, err)))
			return false
		case e := <-exit:
			again.Stop()
			w.exited(ctx, e, e.Reason, false)
			return false
		case <-w.draining:
			again.Stop()
			w.end(ctx, p, exit)
			return false
		case <-ctx.Done():
			again.Stop()
			return false
		}
		again.Stop()
	}
}

// unasked says whether nothing but the instance's life says that it is well.
func unasked(p cloud.Process) bool {
	return p.Liveness.Type == cloud.CheckProcess && p.Readiness.Type == cloud.CheckProcess
}

// unwell says why an instance is not well, with where it listens instead if that is it.
func (w *worker) unwell(ctx context.Context, p cloud.Process, err error) string {
	if p.Port == 0 {
		return err.Error()
	}
	listening, lerr := w.Driver.Listening(ctx, string(w.i.ID))
	if lerr != nil {
		return err.Error()
	}
	for _, l := range listening {
		// One for IPv6 alone is shown as [::], as one for both is: which it is, the check has found out.
		if a := l.Addr(); int(l.Port()) == p.Port && !a.IsLoopback() && (a.Is4() || !refused(err)) {
			return err.Error()
		}
	}
	return elsewhere(uint16(p.Port), listening)
}

// watch keeps an eye on an instance that came up, until it ends or is to end.
func (w *worker) watch(ctx context.Context, p cloud.Process, exit <-chan Exit) {
	if w.readied.IsZero() {
		w.readied = w.Now()
	}
	live, ready := ticker(p.Liveness), ticker(p.Readiness)
	defer live.Stop()
	defer ready.Stop()
	disk := time.NewTicker(spread(measureEvery))
	defer disk.Stop()
	failures := 0
	grown := w.growth.next()
	for {
		measure := false
		select {
		case <-disk.C:
			measure = true
		case <-grown:
			grown, measure = w.growth.next(), true
		case <-live.C:
			err := w.ask(ctx, p.Liveness, w.i.Addr)
			if err == nil {
				failures = 0
				continue
			}
			if shortage(err) {
				w.log.Warn("cannot check an instance: the machine lacks something", "err", err)
				continue
			}
			if failures++; failures >= livenessFailures && ctx.Err() == nil {
				w.giveUp(ctx, p, exit, "failed its health check: "+err.Error())
				return
			}
		case <-ready.C:
			err := w.ask(ctx, p.Readiness, w.i.Addr)
			switch {
			case ctx.Err() != nil, shortage(err):
			case err == nil && w.i.Phase == cloud.InstanceUnready:
				w.show(cloud.InstanceReady, "")
			case err != nil && w.i.Phase == cloud.InstanceReady:
				w.show(cloud.InstanceUnready, err.Error())
			}
		case e := <-exit:
			w.exited(ctx, e, e.Reason, false)
			return
		case <-w.draining:
			w.end(ctx, p, exit)
			return
		case <-ctx.Done():
			return
		}
		if !measure {
			continue
		}
		if reason, over := w.overQuota(ctx); over {
			w.giveUp(ctx, p, exit, reason)
			return
		}
	}
}

// ticker ticks at about a check's interval; never for a check that asks nothing.
func ticker(c cloud.Check) *time.Ticker {
	d := time.Duration(c.Interval)
	if c.Type == cloud.CheckProcess || d <= 0 {
		d = cloud.Never
	}
	return time.NewTicker(spread(d))
}

// spread is a tenth more or less, so that what instances do at an interval spreads in time.
func spread(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5) }

// giveUp ends an instance that is not well, and counts it as crashed.
func (w *worker) giveUp(ctx context.Context, p cloud.Process, exit <-chan Exit, reason string) {
	w.charge(ctx, Exit{Code: 128 + int(syscall.SIGTERM), At: w.Now()}, reason, w.i.Phase == cloud.InstanceStarting)
	w.stop(ctx, p, exit)
	w.cleared(ctx)
}

// end brings an instance to its end as the plan wants it: out of routing first, then asked, then killed.
func (w *worker) end(ctx context.Context, p cloud.Process, exit <-chan Exit) {
	if w.i.Phase != cloud.InstanceStarting {
		w.show(cloud.InstanceDraining, "")
		limited, cancel := context.WithTimeout(ctx, cloud.DrainLimit)
		defer cancel()
		var lingered <-chan time.Time
		if w.linger {
			lingered = time.After(dnsTTL)
		}
		if err := w.Router.Drain(limited, w.i.ID); err != nil && ctx.Err() == nil {
			w.log.Warn("requests were still in flight when the instance had to end", "err", err)
		}
		if lingered != nil {
			select {
			case <-lingered:
			case <-ctx.Done():
			}
		}
	}
	if ctx.Err() != nil {
		return // micro ends; the instance is adopted, and drained again, by the next one
	}
	w.stop(ctx, p, exit)
	w.gone(ctx)
}

// stop ends the container's process.
func (w *worker) stop(ctx context.Context, p cloud.Process, exit <-chan Exit) {
	if w.i.Phase != cloud.InstanceStopping {
		w.show(cloud.InstanceStopping, w.i.Reason)
	}
	if err := w.Driver.Stop(ctx, string(w.i.ID)); err != nil {
		w.log.Warn("cannot ask the instance to end", "err", err)
		return
	}
	grace := time.NewTimer(time.Duration(p.StopGrace))
	defer grace.Stop()
	select {
	case <-exit:
		w.ended = true
	case <-grace.C:
		w.show(cloud.InstanceStopping, fmt.Sprintf("did not end within %s when asked to, and was killed", time.Duration(p.StopGrace)))
	case <-ctx.Done():
	}
}

// gone clears away an instance that was to end.
func (w *worker) gone(ctx context.Context) {
	if w.remove(ctx) {
		w.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.Without(w.i.ID) })
	}
}

// exited clears away an instance that ended although it was not to, and counts that against its slot.
func (w *worker) exited(ctx context.Context, e Exit, reason string, fatal bool) {
	w.ended = true
	w.charge(ctx, e, reason, fatal)
	if w.i.Process == cloud.ReleaseCommand {
		// It runs once: its container tells how it ended until that is written down and Plan wants it gone.
		w.show(cloud.InstanceExited, w.i.Reason)
		select {
		case <-w.draining:
			w.gone(ctx)
		case <-ctx.Done():
		}
		return
	}
	w.cleared(ctx)
}

// charge counts an end against the instance's slot in the very moment in which the slot is free again:
// whoever fills it must know how long to wait. What went with its machine or its shim is not charged.
func (w *worker) charge(ctx context.Context, e Exit, reason string, fatal bool) {
	end := cloud.Exit{Code: e.Code, OOM: e.OOM, At: e.At}
	if e.Lost && end.Code == 0 {
		end.Code = 128 // nobody knows: it must not pass for a good end
	}
	w.i.Phase, w.i.Since, w.i.Reason, w.i.Exit = cloud.InstanceStopping, w.Now(), end.Describe(reason), &end
	i := w.i
	if e.Lost || i.Process == cloud.ReleaseCommand {
		w.see(&i)
		return
	}
	c, _ := w.Views.View().Instances.Crashes(i.Slot)
	switch {
	case c != nil && c.Generation > i.Generation:
		w.see(&i) // it was to be replaced anyway
		return
	case c == nil || !c.Last.At.Equal(end.At): // else it was counted before a restart of micro
		var ran time.Duration
		if !w.readied.IsZero() {
			ran = e.At.Sub(w.readied)
		}
		c = crashed(c, &i, end, i.Reason, ran, fatal)
	}
	if err := w.Memory.Save(ctx, c); err != nil {
		w.log.Error("cannot remember the crash", "err", err)
	}
	w.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.WithCrashes(c).With(&i) })
}

// cleared removes an instance that has been charged. What is left in the snapshots goes with the plan's next step.
func (w *worker) cleared(ctx context.Context) {
	if !w.remove(ctx) {
		return
	}
	w.log.Warn("instance ended", "code", w.i.Exit.Code, "oom", w.i.Exit.OOM, "reason", w.i.Reason)
	w.show(cloud.InstanceExited, w.i.Reason)
}

// remove clears away the container, however long that takes; false only when ctx ends.
func (w *worker) remove(ctx context.Context) bool {
	if w.ended && ctx.Err() == nil {
		// A kill of micro before Done then costs no line. Done itself is for when the container is gone:
		// until then its shim may still be writing the last of the output.
		w.Logs.Copy(w.i.ID)
	}
	for {
		if ctx.Err() != nil {
			return false
		}
		// Once begun it is brought to its end, also when micro stops: half a removal leaves a shim behind.
		err := w.Driver.Remove(context.WithoutCancel(ctx), string(w.i.ID))
		if err == nil {
			w.Logs.Done(w.i.ID)
			return true
		}
		w.log.Error("cannot remove the container", "err", err)
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return false
		}
	}
}
