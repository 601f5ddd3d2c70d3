package runtime_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/runtimetest"
)

func TestShortages(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("GET / on port 80 answered 503"), false},
		{&net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "socket", Err: syscall.EMFILE}}, true},
		{&net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.EADDRNOTAVAIL}}, true},
		{&net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}, false},
		{&net.OpError{Op: "dial", Err: &os.SyscallError{Syscall: "connect", Err: syscall.EHOSTUNREACH}}, false},
		{fmt.Errorf("log: %w", &os.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}), true},
		{fmt.Errorf("namespace: %w", syscall.ENOMEM), true},
		{cloud.Errorf(cloud.Unavailable, "start: %w", syscall.ENFILE), true},
		{errors.New("runc create failed: write /x: no space left on device"), true},
		{errors.New("failed to create shim: too many open files in system"), true},
		{errors.New("runc create failed: fork: cannot allocate memory"), false}, // may be the container's own limit
		{errors.New("no space left on device, says the app's answer"), false},
	} {
		if got := runtime.Shortage(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

// TestAShortageIsNoVerdict lets micro run out of file descriptors, so that it can't check instances: none may be
// replaced, leave the routing table or count as crashed, also after a restart of micro.
func TestAShortageIsNoVerdict(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(2))
		w.after(time.Minute)
		starts := w.starts()
		w.driver.SetShortage(syscall.EMFILE)
		for range 2 {
			w.after(30 * time.Minute)
			w.is("seen", w.seen(), "web.0@r1 ready, web.1@r1 ready")
			w.restart()
		}
		w.is("seen after the restart", w.seen(), "web.0@r1 ready, web.1@r1 ready")
		w.driver.SetShortage(nil)
		w.after(time.Minute)
		w.is("seen at the end", w.seen(), "web.0@r1 ready, web.1@r1 ready")
		if w.starts() != starts {
			t.Errorf("%d instances were started meanwhile", w.starts()-starts)
		}
		for c := range w.snapshots.View().Instances.CrashesOf(shop) {
			t.Errorf("counted as crashed: %+v", c)
		}
	})
}

// TestAReleaseWaitsForTheMachine starts a release while the machine lacks a resource: the release must wait with a
// reason, and start when the resource is there.
func TestAReleaseWaitsForTheMachine(t *testing.T) {
	for what, lacking := range map[string]time.Duration{"at the start": 0, "at the checks": time.Millisecond} {
		inWorld(t, byImage(map[string]runtimetest.App{"slow": {Boots: time.Second}}), func(w *world) {
			w.push("one", web(2))
			w.after(time.Minute)
			if lacking == 0 {
				w.driver.SetShortage(syscall.ENOSPC)
				w.push("two", web(2))
			} else {
				w.push("slow", web(2))
				w.after(lacking)
				w.driver.SetShortage(syscall.EMFILE)
			}
			w.after(10 * time.Minute)
			if rel := w.release(2); rel.Failure != nil || w.app().Current != 1 {
				t.Fatalf("%s: current is r%d, r2 %+v", what, w.app().Current, rel.Failure)
			}
			reasons := 0
			for i := range w.snapshots.View().Instances.OfRelease(shop.Release(2)) {
				if i.Shortage && strings.Contains(i.Reason, "no space left on device") || strings.Contains(i.Reason, "too many open files") {
					reasons++
				}
			}
			if reasons != 2 {
				t.Errorf("%s: %d instances say why they wait: %s", what, reasons, w.seen())
			}
			w.driver.SetShortage(nil)
			w.after(10 * time.Second)
			if w.app().Current != 2 {
				t.Errorf("%s: current is r%d, r2 %+v, seen %s", what, w.app().Current, w.release(2).Failure, w.seen())
			}
		})
	}
}

// TestAReleaseWaitsNotForEver checks that such a release fails in the end, and that the machine is named as the cause.
func TestAReleaseWaitsNotForEver(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(1))
		w.after(time.Minute)
		w.driver.SetShortage(syscall.ENOSPC)
		w.push("two", web(1))
		w.after(30 * time.Minute)
		f := w.release(2).Failure
		if f == nil || !strings.Contains(f.Reason, "the machine could not run it within 15m0s: web.0 can't be started yet: ") || !strings.HasSuffix(f.Reason, "no space left on device") {
			t.Errorf("%+v", f)
		}
		w.is("runs", w.runs(), "web.0@r1")
		w.is("seen", w.seen(), "web.0@r1 ready")
	})
}

// TestAReleaseWaitsForItsImage starts a release whose image no other node sends: it must wait, and start when the image
// has come.
func TestAReleaseWaitsForItsImage(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(2))
		w.after(time.Minute)
		w.images.Away.Store(true)
		w.push("two", web(2))
		w.after(5 * time.Minute)
		if rel := w.release(2); rel.Failure != nil || w.app().Current != 1 {
			t.Fatalf("current is r%d, r2 %+v", w.app().Current, rel.Failure)
		}
		for i := range w.snapshots.View().Instances.OfRelease(shop.Release(2)) {
			if !i.Shortage || !strings.Contains(i.Reason, "no other node has sent image") {
				t.Errorf("%s waits because %q", i.ID, i.Reason)
			}
		}
		w.images.Away.Store(false)
		w.after(10 * time.Second)
		if w.app().Current != 2 {
			t.Errorf("current is r%d, r2 %+v, seen %s", w.app().Current, w.release(2).Failure, w.seen())
		}
	})
}
