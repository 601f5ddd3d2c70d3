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
	// dnsTTL is how long clients may use the address of an instance that they got from DNS.
	dnsTTL = 5 * time.Second
	// livenessFailures is how many liveness checks in a row must fail before an instance is replaced.
	livenessFailures = 3
	// steady is how long an instance without checks must have run to count as ready, because an instance that
	// ends at once must not count as started.
	steady = time.Second
	// firstProbe is the pause after the first probe of a starting instance; it grows to lastProbe.
	firstProbe = 500 * time.Microsecond
	lastProbe  = 250 * time.Millisecond
)

// worker manages one instance from its start to its end. Only the worker changes the instance in the snapshots.
type worker struct {
	*Agent
	i        cloud.Instance // a copy is put into the snapshots at each change
	log      *slog.Logger
	readied  time.Time // when it was ready for the first time
	draining chan struct{}
	once     sync.Once
	linger   bool // set before draining is closed
	ended    bool // the container has ended, so that there is no more output
	disk     diskQuota
}

func newWorker(a *Agent, i *cloud.Instance) *worker {
	return &worker{
		Agent: a, i: *i, draining: make(chan struct{}),
		log: a.Log.With("app", i.AppRef.String(), "release", i.N, "instance", string(i.ID)),
	}
}

// drain asks the worker to end its instance.
func (w *worker) drain(linger bool) {
	w.once.Do(func() {
		w.linger = linger
		close(w.draining)
	})
}

// setPhase puts the instance into the snapshots with a phase.
func (w *worker) setPhase(p cloud.InstancePhase, reason string) {
	if w.i.Phase != p {
		w.i.Phase, w.i.Since = p, w.Now()
		w.log.Info("instance "+string(p), "reason", reason)
	}
	w.i.Reason = reason
	i := w.i
	w.observe(&i)
}

func (w *worker) run(ctx context.Context, adopted bool) {
	p, ok := w.process()
	if !ok {
		// The release no longer exists. Plan will end the instance; don't check it until then.
		p = cloud.Process{Liveness: cloud.Check{Type: cloud.CheckProcess}, Readiness: cloud.Check{Type: cloud.CheckProcess}}
	}
	if !adopted && !w.start(ctx, p) {
		return
	}
	exit := w.wait(ctx)
	if w.i.Phase != cloud.InstanceStarting || w.awaitReady(ctx, p, exit) {
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

// start starts the container. If it returns false there is no container, and the snapshots have the reason.
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
	r, err := w.startWithRetry(starting)
	switch {
	case err == nil:
		w.i.PID, w.i.Started = r.PID, r.Started
		w.i.Addr = netip.AddrPortFrom(r.IP, uint16(p.Port))
		w.setPhase(cloud.InstanceStarting, "")
		return true
	case ctx.Err() != nil:
	case starting.Err() != nil:
		w.removeEnded(ctx)
	default:
		code := cloud.CodeOf(err)
		w.exited(ctx, Exit{Code: 128, At: w.Now()}, "could not be started: "+err.Error(), code == cloud.Invalid || code == cloud.NotFound)
	}
	return false
}

// create starts the container that the state asks for.
func (w *worker) create(ctx context.Context, image Image) (Running, error) {
	state := w.Views.View().State
	rel, ok := state.Release(w.i.ReleaseRef)
	if !ok {
		return Running{}, fmt.Errorf("release %s no longer exists", w.i.ReleaseRef)
	}
	group, ok := state.Group(rel.Group)
	if !ok {
		return Running{}, fmt.Errorf("group %s no longer exists", rel.Group)
	}
	defer w.pauses.unpaused(rel.AppRef)() // so that no other folder takes the place of a volume meanwhile
	volumes, err := w.volumes(rel)
	if err != nil {
		return Running{}, err
	}
	path, err := w.Logs.Open(&w.i)
	if err != nil {
		return Running{}, err
	}
	made := w.facts.container(group, rel, &w.i, image, volumes, path)
	made.bind(rel, state)
	if len(rel.Spec.Bindings) > 0 {
		made.Await = func(ctx context.Context) error { return w.awaitAccounts(ctx, rel, state) }
	}
	return w.Driver.Start(ctx, made)
}

// wait returns a channel that receives the container's exit.
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

// awaitReady waits until the instance is ready. It returns false if the instance has ended or is ending, or ctx ended.
func (w *worker) awaitReady(ctx context.Context, p cloud.Process, exit <-chan Exit) bool {
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
		err := w.check(ctx, &w.i, p.Protocol, p.Liveness)
		if err == nil {
			err = w.check(ctx, &w.i, p.Protocol, p.Readiness)
		}
		if err == nil && hasNoChecks(p) && w.Now().Sub(began) < steady {
			err = errors.New("has only just started")
		}
		if w.i.Shortage = shortage(err); err == nil {
			w.readied = w.Now()
			w.setPhase(cloud.InstanceReady, "")
			return true
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
			pause = min(pause*3/2, lastProbe)
		case <-lookAround.C:
			w.setPhase(cloud.InstanceStarting, w.whyNotReady(ctx, p, err))
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
				// The instance could not be checked, so its startup time begins again.
				w.setPhase(cloud.InstanceStarting, "can't be checked: "+err.Error())
				limit.Reset(time.Duration(p.Startup))
				continue
			}
			w.giveUp(ctx, p, exit, fmt.Sprintf("was not ready within %s: %s", p.Startup, w.whyNotReady(ctx, p, err)))
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

// hasNoChecks reports whether the instance counts as ready just because it runs.
func hasNoChecks(p cloud.Process) bool {
	return p.Liveness.Type == cloud.CheckProcess && p.Readiness.Type == cloud.CheckProcess
}

// whyNotReady explains a failed check, with the addresses that the instance listens on if they are the cause.
func (w *worker) whyNotReady(ctx context.Context, p cloud.Process, err error) string {
	if p.Port == 0 {
		return err.Error()
	}
	listening, lerr := w.Driver.Listening(ctx, string(w.i.ID))
	if lerr != nil {
		return err.Error()
	}
	for _, l := range listening {
		// A listener on [::] may be for IPv6 only or for both. If the check was refused, it is for IPv6 only.
		if a := l.Addr(); int(l.Port()) == p.Port && !a.IsLoopback() && (a.Is4() || !refused(err)) {
			return err.Error()
		}
	}
	return describeListeners(uint16(p.Port), listening)
}

// watch checks an instance that has been ready, until it ends or must be ended.
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
			err := w.check(ctx, &w.i, p.Protocol, p.Liveness)
			if err == nil {
				failures = 0
				continue
			}
			if shortage(err) {
				w.log.Warn("cannot check an instance: the machine lacks a resource", "err", err)
				continue
			}
			if failures++; failures >= livenessFailures && ctx.Err() == nil {
				w.giveUp(ctx, p, exit, "failed its health check: "+err.Error())
				return
			}
		case <-ready.C:
			err := w.check(ctx, &w.i, p.Protocol, p.Readiness)
			switch {
			case ctx.Err() != nil, shortage(err):
			case err == nil && w.i.Phase == cloud.InstanceUnready:
				w.setPhase(cloud.InstanceReady, "")
			case err != nil && w.i.Phase == cloud.InstanceReady:
				w.setPhase(cloud.InstanceUnready, err.Error())
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

// ticker ticks at about a check's interval; never for a check without requests.
func ticker(c cloud.Check) *time.Ticker {
	d := time.Duration(c.Interval)
	if c.Type == cloud.CheckProcess || d <= 0 {
		d = cloud.Never
	}
	return time.NewTicker(spread(d))
}

// spread varies a duration by up to a tenth, so that periodic work of instances is spread over time.
func spread(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5) }

// giveUp ends an instance that failed its checks or exceeds its quota, and counts that as a crash.
func (w *worker) giveUp(ctx context.Context, p cloud.Process, exit <-chan Exit, reason string) {
	w.countCrash(ctx, Exit{Code: 128 + int(syscall.SIGTERM), At: w.Now()}, reason, w.i.Phase == cloud.InstanceStarting)
	w.stop(ctx, p, exit)
	w.removeCrashed(ctx)
}

// end ends an instance as planned: it takes the instance out of routing, asks it to end, and then kills it.
func (w *worker) end(ctx context.Context, p cloud.Process, exit <-chan Exit) {
	if w.i.Phase != cloud.InstanceStarting {
		w.setPhase(cloud.InstanceDraining, "")
		limited, cancel := context.WithTimeout(ctx, cloud.DrainLimit)
		defer cancel()
		var lingered <-chan time.Time
		if w.linger {
			lingered = time.After(dnsTTL)
		}
		if err := w.Router.Drain(limited, w.i.ID); err != nil && ctx.Err() == nil {
			w.log.Warn("the instance has to end while requests are in flight", "err", err)
		}
		if lingered != nil {
			select {
			case <-lingered:
			case <-ctx.Done():
			}
		}
	}
	if ctx.Err() != nil {
		return // micro stops; the next process adopts the instance and drains it again
	}
	w.stop(ctx, p, exit)
	w.removeEnded(ctx)
}

// stop asks the container to end, and waits until it has or its grace is over.
func (w *worker) stop(ctx context.Context, p cloud.Process, exit <-chan Exit) {
	if w.i.Phase != cloud.InstanceStopping {
		w.setPhase(cloud.InstanceStopping, w.i.Reason)
	}
	if err := w.signal(ctx); err != nil {
		w.log.Warn("cannot ask the instance to end", "err", err)
		return
	}
	grace := time.NewTimer(time.Duration(p.StopGrace))
	defer grace.Stop()
	select {
	case <-exit:
		w.ended = true
	case <-grace.C:
		w.setPhase(cloud.InstanceStopping, fmt.Sprintf("did not end within %s when asked to, and was killed", time.Duration(p.StopGrace)))
	case <-ctx.Done():
	}
}

// signal asks the container to end, once it is not paused.
func (w *worker) signal(ctx context.Context) error {
	defer w.pauses.unpaused(w.i.AppRef)()
	return w.Driver.Stop(ctx, string(w.i.ID))
}

// removeEnded removes an instance that ended as planned.
func (w *worker) removeEnded(ctx context.Context) {
	if w.remove(ctx) {
		w.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.Without(w.i.ID) })
	}
}

// exited removes an instance that ended unexpectedly, and counts that as a crash of its slot.
func (w *worker) exited(ctx context.Context, e Exit, reason string, fatal bool) {
	w.ended = true
	w.countCrash(ctx, e, reason, fatal)
	if w.i.Process == cloud.ReleaseCommand {
		// A release command keeps its container, which has the exit code, until the leader has recorded it and
		// Plan removes the instance.
		w.setPhase(cloud.InstanceExited, w.i.Reason)
		select {
		case <-w.draining:
			w.removeEnded(ctx)
		case <-ctx.Done():
		}
		return
	}
	w.removeCrashed(ctx)
}

// countCrash records the end of an instance as a crash of its slot, in the same step that frees the slot, so that the
// next start of the slot waits long enough. Ends together with a machine or a shim are not counted.
func (w *worker) countCrash(ctx context.Context, e Exit, reason string, fatal bool) {
	end := cloud.Exit{Code: e.Code, OOM: e.OOM, At: e.At}
	if e.Lost && end.Code == 0 {
		end.Code = 128 // unknown, so it must not look like success
	}
	w.i.Phase, w.i.Since, w.i.Reason, w.i.Exit = cloud.InstanceStopping, w.Now(), end.Describe(reason), &end
	i := w.i
	if e.Lost || i.Process == cloud.ReleaseCommand {
		w.observe(&i)
		return
	}
	c, _ := w.Views.View().Instances.Crashes(i.Slot)
	switch {
	case c != nil && c.Generation > i.Generation:
		w.observe(&i) // a newer generation has already replaced it
		return
	case c == nil || !c.Last.At.Equal(end.At): // otherwise it was counted before a restart of micro
		var ran time.Duration
		if !w.readied.IsZero() {
			ran = e.At.Sub(w.readied)
		}
		c = crashed(c, &i, end, i.Reason, ran, fatal)
	}
	if err := w.Memory.Save(ctx, c); err != nil {
		w.log.Error("cannot store the crash count", "err", err)
	}
	w.Views.Observe(func(o *cloud.Instances) *cloud.Instances { return o.WithCrashes(c).With(&i) })
}

// removeCrashed removes the container of a crashed instance. The next plan removes the instance from the snapshots.
func (w *worker) removeCrashed(ctx context.Context) {
	if !w.remove(ctx) {
		return
	}
	w.log.Warn("instance ended", "code", w.i.Exit.Code, "oom", w.i.Exit.OOM, "reason", w.i.Reason)
	w.setPhase(cloud.InstanceExited, w.i.Reason)
}

// remove removes the container and tries until that succeeds. It returns false only if ctx ends.
func (w *worker) remove(ctx context.Context) bool {
	if w.ended && ctx.Err() == nil {
		// Copy now, so that no line is lost if micro is killed before Done. Call Done only after the container
		// is removed: until then its shim may still write the last output.
		w.Logs.Copy(w.i.ID)
	}
	for {
		if ctx.Err() != nil {
			return false
		}
		// Finish a removal even if micro stops, because a partial removal would leave a shim.
		end := w.pauses.unpaused(w.i.AppRef)
		err := w.Driver.Remove(context.WithoutCancel(ctx), string(w.i.ID))
		end()
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
