package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/runtimetest"
)

func TestPushComesUpAndTakesOver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(2))
		w.after(time.Second)
		w.is("runs", w.runs(), "web.0@r1 web.1@r1")
		w.is("seen", w.seen(), "web.0@r1 ready, web.1@r1 ready")
		if w.app().Current != 1 || w.app().Rollout != nil {
			t.Errorf("app is %+v", w.app())
		}
		w.push("two", web(2))
		w.after(time.Second)
		if w.app().Current != 2 {
			t.Errorf("app is %+v", w.app())
		}
		w.is("runs while warm", w.runs(), "web.0@r1 web.0@r2 web.1@r1 web.1@r2")
		w.after(leader.DefaultWarm + time.Minute)
		w.is("runs after", w.runs(), "web.0@r2 web.1@r2")
		if w.logs.Len() != 2 {
			t.Errorf("%d instances are read from", w.logs.Len())
		}
	})
}

// outcome describes the result of a push: the current release and the running instances.
func outcome(w *world) string {
	rel := w.release(2)
	failed := ""
	if rel.Failure != nil {
		failed = " failed"
	}
	return fmt.Sprintf("current r%d%s, runs %s", w.app().Current, failed, w.runs())
}

// TestPushSurvivesEveryFault makes each call fail, or the process crash there: the push must be completely done or
// completely undone.
func TestPushSurvivesEveryFault(t *testing.T) {
	const before, after = "current r1 failed, runs web.0@r1 web.1@r1", "current r2, runs web.0@r2 web.1@r2"
	draft := web(2)
	command := "migrate"
	draft.Processes[cloud.ReleaseCommand] = cloud.ProcessSpec{Command: &command}
	apps := func(c runtime.Container) runtimetest.App {
		if c.Labels["micro.process"] == string(cloud.ReleaseCommand) {
			return runtimetest.App{Exits: time.Second}
		}
		return runtimetest.App{Boots: 300 * time.Millisecond}
	}
	run := func(name string, arm func(f *runtimetest.Fault, base int)) (calls int, ended string) {
		t.Run(name, func(t *testing.T) {
			inWorld(t, apps, func(w *world) {
				w.push("one", web(2))
				w.after(2 * time.Second)
				w.is("before", w.runs(), "web.0@r1 web.1@r1")
				arm(w.fault, len(w.fault.Calls()))
				base := len(w.fault.Calls())
				w.push("two", draft)
				for range 60 {
					w.after(30 * time.Second)
					if w.fault.Dead() {
						w.restart()
					}
				}
				calls, ended = len(w.fault.Calls())-base, outcome(w)
				if ended != before && ended != after {
					t.Errorf("ended as %q\ncalls:\n%s", ended, strings.Join(w.fault.Calls(), "\n"))
				}
				if got := len(w.driver.IDs()); got != 2 {
					t.Errorf("%d containers are there, want 2: %v", got, w.driver.IDs())
				}
				if got := w.driver.Most("default.shop.r2"); got > 2 {
					t.Errorf("%d containers of r2 ran at once", got)
				}
				w.restart()
				w.after(time.Minute)
				if again := outcome(w); again != ended {
					t.Errorf("after another restart %q, was %q", again, ended)
				}
			})
		})
		return calls, ended
	}
	calls, ended := run("none", func(*runtimetest.Fault, int) {})
	if ended != after || calls < 10 {
		t.Fatalf("without fault: %q in %d calls", ended, calls)
	}
	for k := 1; k <= calls; k++ {
		run(fmt.Sprintf("fail at %d", k), func(f *runtimetest.Fault, base int) { f.FailAt = base + k })
		run(fmt.Sprintf("crash at %d", k), func(f *runtimetest.Fault, base int) { f.CrashAt = base + k })
		run(fmt.Sprintf("crash after %d", k), func(f *runtimetest.Fault, base int) { f.CrashAt, f.After = base+k, true })
	}
}

// TestCrashLoopBacksOff restarts an app that keeps ending: at once three times, then after 30 s, doubling up to
// 16 min.
func TestCrashLoopBacksOff(t *testing.T) {
	var broken atomic.Bool
	app := func(runtime.Container) runtimetest.App {
		if broken.Load() {
			return runtimetest.App{Deaf: true, Exits: time.Second, Code: 3}
		}
		return runtimetest.App{}
	}
	inWorld(t, app, func(w *world) {
		w.push("one", web(1))
		w.after(leader.DefaultWarm)
		broken.Store(true)
		for id := range w.driver.Running() {
			w.driver.End(id, runtime.Exit{Code: 3})
		}
		var gaps []time.Duration
		last, starts := time.Now(), w.starts()
		synctest.Wait()
		for len(gaps) < 11 {
			for w.starts() == starts {
				time.Sleep(time.Second)
				synctest.Wait()
			}
			gaps = append(gaps, time.Since(last).Round(time.Second))
			last, starts = time.Now(), w.starts()
		}
		// A run takes a second; the pause comes on top.
		want := "[0s 1s 1s 31s 1m1s 2m1s 4m1s 8m1s 16m1s 16m1s 16m1s]"
		if got := fmt.Sprint(gaps); got != want {
			t.Errorf("starts came after %s, want %s", got, want)
		}
		c, ok := w.snapshots.View().Instances.Crashes(cloud.Slot{ReleaseRef: shop.Release(1), Process: cloud.Web})
		if !ok || c.Reason != "exited with code 3" || c.Count < 10 {
			t.Fatalf("crashes are %+v", c)
		}
		count := c.Count
		w.restart()
		c, _ = w.snapshots.View().Instances.Crashes(c.Slot)
		if c.Count < count || w.starts() > starts+1 {
			t.Errorf("a restart of micro gave the crash loop a fresh start: %+v", c)
		}
	})
}

func TestFailedPushSaysWhyAndLeavesTheAppAsItWas(t *testing.T) {
	exits := runtimetest.App{Deaf: true, Exits: 200 * time.Millisecond, Code: 1}
	for image, tc := range map[string]struct {
		app    runtimetest.App
		reason string
		within time.Duration
	}{
		"exits":    {exits, "web.0 exited with code 1", 5 * time.Second},
		"oom":      {runtimetest.App{Deaf: true, Exits: time.Second, OOM: true}, "web.0 ran out of memory", 5 * time.Second},
		"deaf":     {runtimetest.App{Deaf: true}, "web.0 was not ready within 1m0s: listens on no port", 61 * time.Second},
		"loopback": {runtimetest.App{At: "127.0.0.1:8080"}, "web.0 was not ready within 1m0s: listens on 127.0.0.1:8080 only", 61 * time.Second},
		"other":    {runtimetest.App{At: "0.0.0.0:3000"}, "web.0 was not ready within 1m0s: listens on 0.0.0.0:3000 instead", 61 * time.Second},
		"missing":  {runtimetest.App{}, "web.0 could not be started: no image missing", time.Second},
	} {
		t.Run(image, func(t *testing.T) {
			inWorld(t, byImage(map[string]runtimetest.App{image: tc.app}), func(w *world) {
				w.images.Missing = map[string]bool{"missing": true}
				w.push("one", web(1))
				w.after(time.Second)
				before := *w.app()
				w.push(image, web(1))
				w.after(tc.within)
				f := w.release(2).Failure
				if f == nil || !strings.HasPrefix(f.Reason, tc.reason) {
					t.Fatalf("failure is %+v, want %q", f, tc.reason)
				}
				if !strings.HasPrefix(f.Hint, "micro ") || !slices.Equal(f.Lines, []string{"last words"}) {
					t.Errorf("failure is %+v", f)
				}
				w.after(time.Minute)
				now := *w.app()
				if now.Last, before.Last = 0, 0; fmt.Sprint(now) != fmt.Sprint(before) {
					t.Errorf("the app is %+v, was %+v", now, before)
				}
				w.is("runs", w.runs(), "web.0@r1")
			})
		})
	}
}

// TestEndsInOrder checks the order of an instance's end: out of routing, drained, SIGTERM, grace, removed.
func TestEndsInOrder(t *testing.T) {
	inWorld(t, byImage(map[string]runtimetest.App{"one": {Stubborn: true}}), func(w *world) {
		w.push("one", web(1))
		w.after(time.Second)
		var phase string
		w.router.Busy = func(ctx context.Context) error {
			phase = w.seen()
			time.Sleep(7 * time.Second)
			return nil
		}
		base := len(w.fault.Calls())
		w.change(w.state.Stop(shop.Release(0), false))
		w.after(6 * time.Second)
		w.is("while requests are in flight", phase, "web.0@r1 draining")
		w.is("calls", calls(w, base), "drain")
		w.after(2 * time.Second)
		w.is("calls", calls(w, base), "drain stop")
		w.is("seen", w.seen(), "web.0@r1 stopping")
		w.fault.FailNext()
		w.after(9 * time.Second)
		w.is("calls", calls(w, base), "drain stop remove")
		for i := range w.snapshots.View().Instances.All() {
			w.is("why", i.Reason, "did not end within 10s when asked to, and was killed")
		}
		w.is("seen", w.seen(), "web.0@r1 stopping")
		w.after(5 * time.Second)
		w.is("calls", calls(w, base), "drain stop remove remove")
		w.is("seen", w.seen(), "")
	})
}

func calls(w *world, base int) string {
	var all []string
	for _, c := range w.fault.Calls()[base:] {
		verb, _, _ := strings.Cut(c, " ")
		if slices.Contains([]string{"drain", "stop", "remove", "start"}, verb) {
			all = append(all, verb)
		}
	}
	return strings.Join(all, " ")
}

func TestRestartOfMicroKeepsInstances(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(3))
		w.after(time.Minute)
		before := w.driver.IDs()
		w.restart()
		w.is("seen at once", w.seen(), "web.0@r1 ready, web.1@r1 ready, web.2@r1 ready")
		w.after(time.Minute)
		if !slices.Equal(before, w.driver.IDs()) {
			t.Errorf("instances were %v, are %v", before, w.driver.IDs())
		}
	})
}

// TestRebootIsNoCrash checks that all instances run again after a reboot, and that none counts as crashed.
func TestRebootIsNoCrash(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(2))
		w.after(time.Minute)
		w.end()
		w.driver.Reboot()
		w.start()
		w.after(time.Second)
		w.is("runs", w.runs(), "web.0@r1 web.1@r1")
		for c := range w.snapshots.View().Instances.AllCrashes() {
			t.Errorf("charged: %+v", c)
		}
		if len(w.driver.IDs()) != 2 {
			t.Errorf("containers: %v", w.driver.IDs())
		}
	})
}

// TestEndWhileDownCountsOnce checks that an end while micro is down counts as one crash, however often micro restarts
// after that.
func TestEndWhileDownCountsOnce(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(1))
		w.after(time.Minute)
		id := w.driver.IDs()[0]
		w.end()
		w.driver.End(id, runtime.Exit{Code: 9})
		w.fault.CrashAt, w.fault.After = len(w.fault.Calls())+2, true // list, save
		w.start()
		if !w.fault.Dead() {
			t.Fatal("it has not crashed")
		}
		w.restart()
		w.after(time.Second)
		c, ok := w.snapshots.View().Instances.Crashes(cloud.Slot{ReleaseRef: shop.Release(1), Process: cloud.Web})
		if !ok || c.Count != 1 || c.Total != 1 {
			t.Errorf("crashes are %+v", c)
		}
		w.is("runs", w.runs(), "web.0@r1")
	})
}

func TestHealth(t *testing.T) {
	var unwell, unready atomic.Bool
	app := func(c runtime.Container) runtimetest.App {
		if strings.HasSuffix(c.ID, "x001") {
			return runtimetest.App{Unwell: unwell.Load, Unready: unready.Load}
		}
		return runtimetest.App{}
	}
	draft := web(1)
	p := draft.Processes[cloud.Web]
	p.Readiness = &cloud.Check{Type: cloud.CheckHTTP, Path: runtimetest.ReadinessPath, Interval: cloud.Duration(time.Second)}
	draft.Processes[cloud.Web] = p
	inWorld(t, app, func(w *world) {
		w.push("one", draft)
		w.after(time.Minute)
		unready.Store(true)
		w.after(2 * time.Second)
		w.is("seen", w.seen(), "web.0@r1 unready")
		unready.Store(false)
		w.after(2 * time.Second)
		w.is("seen", w.seen(), "web.0@r1 ready")
		unwell.Store(true)
		w.after(50 * time.Second) // at most two checks of 30 s, plus or minus a tenth
		w.is("seen", w.seen(), "web.0@r1 ready")
		if w.starts() != 1 {
			t.Errorf("%d starts before the third failure", w.starts())
		}
		w.after(time.Minute)
		w.is("seen", w.seen(), "web.0@r1 ready")
		if w.starts() != 2 {
			t.Errorf("%d starts after the third failure", w.starts())
		}
	})
}

// TestDiskQuota checks that an instance which exceeds its current disk quota is replaced.
func TestDiskQuota(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(1))
		w.after(time.Second)
		first := w.driver.IDs()[0]
		w.driver.Write(first, runtime.Usage{Bytes: 5 << 20})
		w.after(time.Minute)
		if slices.Contains(w.fault.Calls(), "written "+first) {
			t.Error("the files of one without a quota were measured")
		}
		w.change(w.state.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Disk: new(int64(5 << 20))}}, false))
		w.after(time.Minute)
		w.is("runs as before", strings.Join(w.driver.IDs(), " "), first)
		w.driver.Write(first, runtime.Usage{Bytes: 5<<20 + 4096})
		w.after(20 * time.Second)
		w.is("seen", w.seen(), "web.0@r1 ready")
		c, ok := w.snapshots.View().Instances.Crashes(cloud.Slot{ReleaseRef: shop.Release(1), Process: cloud.Web})
		if want := "has 6M of files of its own: its disk quota is 5M"; !ok || c.Reason != want || slices.Contains(w.driver.IDs(), first) {
			t.Errorf("crashes are %+v, want the reason %q; %v run", c, want, w.driver.IDs())
		}
	})
}

// TestDiskQuotaOfFiles checks that the number of files is limited too, and that instances are measured at once when
// the disk fills up fast.
func TestDiskQuotaOfFiles(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		d := web(1)
		p := d.Processes[cloud.Web]
		p.Disk = new(int64(8 << 20))
		d.Processes[cloud.Web] = p
		w.push("one", d)
		w.after(time.Minute)
		first := w.driver.IDs()[0]
		w.driver.Write(first, runtime.Usage{Bytes: 4 << 20, Files: 2048})
		w.after(time.Minute)
		w.is("runs as before", strings.Join(w.driver.IDs(), " "), first)
		w.driver.Write(first, runtime.Usage{Bytes: 4 << 20, Files: 20_000})
		w.after(2 * time.Second)
		c, ok := w.snapshots.View().Instances.Crashes(cloud.Slot{ReleaseRef: shop.Release(1), Process: cloud.Web})
		if want := "has 20000 files of its own: its disk quota of 8M allows 2048"; !ok || c.Reason != want {
			t.Errorf("crashes are %+v, want the reason %q", c, want)
		}
	})
}

// TestDiskQuotaIsKept checks that nothing is measured if the file system enforces the limit.
func TestDiskQuotaIsKept(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.driver.KeepDiskLimits = true
		d := web(1)
		p := d.Processes[cloud.Web]
		p.Disk = new(int64(8 << 20))
		d.Processes[cloud.Web] = p
		w.push("one", d)
		w.after(time.Second)
		first := w.driver.IDs()[0]
		if got := w.driver.DiskLimit(first); got != (runtime.Usage{Bytes: 8 << 20, Files: 2048}) {
			t.Errorf("limit %+v", got)
		}
		w.driver.Write(first, runtime.Usage{Bytes: 9 << 20})
		w.change(w.state.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Disk: new(int64(2 << 20))}}, false))
		w.after(time.Minute)
		if got := w.driver.DiskLimit(first); got != (runtime.Usage{Bytes: 2 << 20, Files: 1000}) {
			t.Errorf("changed limit %+v", got)
		}
		if w.is("runs as before", strings.Join(w.driver.IDs(), " "), first); slices.Contains(w.fault.Calls(), "written "+first) {
			t.Error("it was measured")
		}
	})
}

// TestRestartOfMicroKeepsWhatIsUnready checks that an unready instance is still unready after a restart of micro. It
// was ready once, so it must not be replaced, however long it is unready.
func TestRestartOfMicroKeepsWhatIsUnready(t *testing.T) {
	var unready atomic.Bool
	inWorld(t, func(runtime.Container) runtimetest.App { return runtimetest.App{Unready: unready.Load} }, func(w *world) {
		d := web(1)
		p := d.Processes[cloud.Web]
		p.Readiness = &cloud.Check{Type: cloud.CheckHTTP, Path: runtimetest.ReadinessPath, Interval: cloud.Duration(time.Second)}
		d.Processes[cloud.Web] = p
		w.push("one", d)
		w.after(2 * time.Minute)
		unready.Store(true)
		w.after(2 * time.Second)
		w.restart()
		w.is("seen", w.seen(), "web.0@r1 unready")
		w.after(10 * time.Minute)
		w.is("seen", w.seen(), "web.0@r1 unready")
		unready.Store(false)
		w.after(2 * time.Second)
		w.is("seen", w.seen(), "web.0@r1 ready")
		if n := w.starts(); n != 1 {
			t.Errorf("%d starts, want 1", n)
		}
		w.restart()
		for i := range w.snapshots.View().Instances.All() {
			if age := time.Since(i.Since); age < 10*time.Minute {
				t.Errorf("it is %s since %s, want since its start", i.Phase, age)
			}
		}
	})
}

// TestSupersededPushEnds checks that a new push ends an unfinished one.
func TestSupersededPushEnds(t *testing.T) {
	inWorld(t, byImage(map[string]runtimetest.App{"two": {Deaf: true}}), func(w *world) {
		w.push("one", web(1))
		w.after(time.Second)
		w.push("two", web(1))
		w.after(time.Second)
		w.is("runs", w.runs(), "web.0@r1 web.0@r2")
		w.push("three", web(1))
		w.after(15 * time.Second)
		w.is("runs", w.runs(), "web.0@r1 web.0@r3")
		if w.app().Current != 3 || w.state.PhaseOf(w.release(2)) != cloud.PhaseSuperseded {
			t.Errorf("app is %+v, r2 %s", w.app(), w.state.PhaseOf(w.release(2)))
		}
	})
}

// TestRecreateRunsOneReleaseAtATime checks that with recreate two releases never run together, whether the push
// succeeds or not.
func TestRecreateRunsOneReleaseAtATime(t *testing.T) {
	draft := web(2)
	draft.Volumes = []cloud.Volume{{Name: "data", Path: "/data", Shared: true}}
	for _, image := range []string{"good", "bad"} {
		t.Run(image, func(t *testing.T) {
			apps := byImage(map[string]runtimetest.App{"bad": {Deaf: true, Exits: time.Second, Code: 1}})
			inWorld(t, apps, func(w *world) {
				w.push("one", draft)
				w.after(time.Second)
				push := func() { w.push(image, draft) }
				push()
				for i := range 600 {
					if i == 15 {
						push() // supersedes
					}
					w.after(200 * time.Millisecond)
					releases := map[string]bool{}
					for _, c := range w.driver.Running() {
						releases[c.Labels["micro.release"]] = true
					}
					if len(releases) > 1 {
						t.Fatalf("%s run at once", w.runs())
					}
				}
				want := "web.0@r3 web.1@r3"
				if image == "bad" {
					want = "web.0@r1 web.1@r1"
				}
				w.is("runs", w.runs(), want)
			})
		})
	}
}

// TestSameNameIsNotSameApp deletes an app and makes one with the same name while micro is down: it must get none of
// the old instances.
func TestSameNameIsNotSameApp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("old", web(1))
		w.after(time.Second)
		w.end()
		for _, change := range []func() ([]cloud.Change, error){
			func() ([]cloud.Change, error) { return w.state.Delete(shop.Release(0)) },
			func() ([]cloud.Change, error) {
				c, _, err := w.state.Push(cloud.Push{App: shop, Spec: web(1), Built: cloud.Built{Image: cloud.Image{Digest: "new"}}}, w.stamp())
				return c, err
			},
		} {
			changes, err := change()
			if err != nil {
				t.Fatal(err)
			}
			w.state = w.state.Apply(w.state.Rev()+1, changes)
		}
		w.start()
		w.after(time.Minute)
		for id, c := range w.driver.Running() {
			if c.Image != "new" {
				t.Errorf("%s runs %s", id, c.Image)
			}
		}
		w.is("runs", w.runs(), "web.0@r1")
	})
}

func TestRestartRollsInPlace(t *testing.T) {
	inWorld(t, func(runtime.Container) runtimetest.App { return runtimetest.App{Boots: 2 * time.Second} }, func(w *world) {
		w.push("one", web(4))
		w.after(5 * time.Second)
		before := w.driver.IDs()
		w.change(w.state.Restart(shop.Release(0)))
		for range 300 {
			w.after(100 * time.Millisecond)
			if got := len(w.snapshots.View().Pool(shop.Release(1))); got < 4 {
				t.Fatalf("only %d are ready: %s", got, w.seen())
			}
		}
		w.is("runs", w.runs(), "web.0@r1 web.1@r1 web.2@r1 web.3@r1")
		for _, id := range before {
			if slices.Contains(w.driver.IDs(), id) {
				t.Errorf("%s is still there", id)
			}
		}
	})
}

// TestWorkerThatEndsAtOnceFails checks that a worker process that ends at once fails its push, although it has no
// health check.
func TestWorkerThatEndsAtOnceFails(t *testing.T) {
	draft := web(0)
	draft.Processes["worker"] = cloud.ProcessSpec{Instances: new(1)}
	inWorld(t, byImage(map[string]runtimetest.App{"one": {Exits: 300 * time.Millisecond, Code: 1}}), func(w *world) {
		w.push("one", draft)
		w.after(10 * time.Second)
		if f := w.release(1).Failure; f == nil || f.Reason != "worker.0 exited with code 1" {
			t.Errorf("failure is %+v", f)
		}
		if w.app().Current != 0 || w.runs() != "" {
			t.Errorf("app is %+v, runs %s", w.app(), w.runs())
		}
	})
}

// TestUntil checks that waits for a time of day are short, because a timer does not notice a changed clock.
func TestUntil(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f := func(at time.Time, want time.Duration) {
		t.Helper()
		if got := cloud.Until(at, now); got != want {
			t.Errorf("until %v: %v, want %v", at, got, want)
		}
	}
	f(now.Add(time.Second), time.Second)
	f(now.Add(time.Hour), 30*time.Second)
	f(now.Add(-time.Hour), 10*time.Millisecond)
	f(time.Time{}, 24*time.Hour)
}
