package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"
)

// A node has its instances under a lease. When the lease ends, other nodes start in their place what must not run twice.
// micro ends such an instance in time, but micro may be killed or stand still. So the shim does the same: micro writes into
// a file until when the lease is surely held, and after that time the shim kills its containers that are fenced. Without
// the file nothing is fenced: no other node could start anything.

// LeaseFile is the file with the time, by Boottime, until which fenced containers may run. state is the engine's folder in
// memory.
func LeaseFile(state string) string { return filepath.Join(state, "lease") }

// FencedFile marks a container as fenced. It is there before the container is created.
func FencedFile(state, id string) string { return filepath.Join(state, "i", id, "fenced") }

// KilledFile says that the shim has killed the container because the lease has ended.
func KilledFile(state, id string) string { return filepath.Join(state, "i", id, "killed") }

// Boottime returns the time since the machine was started. Unlike Go's clocks it goes on while the machine sleeps, and
// nobody sets it.
func Boottime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("read the time since the machine's start: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// WriteLease lets fenced containers run until a time by Boottime.
func WriteLease(state string, until time.Duration) error {
	return replaceFile(LeaseFile(state), []byte(strconv.FormatInt(int64(until), 10)))
}

// leaseEnded reports whether fenced containers may no longer run.
func leaseEnded(state string) (bool, error) {
	text, err := os.ReadFile(LeaseFile(state))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	until, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return false, fmt.Errorf("the lease of this node: %w", err)
	}
	now, err := Boottime()
	return now > time.Duration(until), err
}

// fence kills the fenced containers of this shim when the node's lease has ended.
type fence struct {
	kill func(ctx context.Context, id string) error

	mu    sync.Mutex
	state string
	ids   map[string]bool // the fenced containers
	runs  bool            // somebody watches the lease
}

// watchEvery is how often the lease is looked at. The time that micro writes leaves room for it.
const watchEvery = 200 * time.Millisecond

// add takes a container into the fence if it is marked. bundle is the container's.
func (f *fence) add(bundle, id string) {
	state := filepath.Join(bundle, "../../..")
	if _, err := os.Stat(FencedFile(state, id)); err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.ids[id] = state, true
	if !f.runs {
		f.runs = true
		go f.watch()
	}
}

// mayStart returns an error if a container is fenced and the node's lease has ended. A node that stood still may ask for
// its start long after another node was given its place, and the next watch would end it too late.
func (f *fence) mayStart(id string) error {
	f.mu.Lock()
	state, fenced := f.state, f.ids[id]
	f.mu.Unlock()
	if !fenced {
		return nil
	}
	ended, err := leaseEnded(state)
	if err == nil && ended {
		err = errors.New(LeaseEnded)
	}
	if err != nil {
		return errgrpc.ToGRPC(fmt.Errorf("%w: %w", errdefs.ErrFailedPrecondition, err))
	}
	return nil
}

// LeaseEnded is in the error of a start that the fence refuses.
const LeaseEnded = "the lease of its node has ended"

func (f *fence) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.ids, id)
}

// watch watches the lease as long as there are fenced containers.
func (f *fence) watch() {
	for {
		time.Sleep(watchEvery)
		f.mu.Lock()
		if f.runs = len(f.ids) > 0; !f.runs {
			f.mu.Unlock()
			return
		}
		state := f.state
		f.mu.Unlock()
		ended, err := leaseEnded(state)
		if err != nil {
			fmt.Fprintln(os.Stderr, "micro shim:", err)
		}
		if ended {
			f.killAll(state)
		}
	}
}

func (f *fence) killAll(state string) {
	f.mu.Lock()
	ids := make([]string, 0, len(f.ids))
	for id := range f.ids {
		ids = append(ids, id)
	}
	f.mu.Unlock()
	for _, id := range ids {
		if err := os.WriteFile(KilledFile(state, id), nil, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "micro shim:", err) // then its end counts as a crash
		}
		if err := f.kill(context.Background(), id); err != nil {
			fmt.Fprintf(os.Stderr, "micro shim: kill %s, which may run on another node: %v\n", id, err)
			continue // again in a moment
		}
		f.remove(id)
	}
}

// killContainer kills all processes of a container. One that has ended already is no error.
func killContainer(tasks taskAPI.TTRPCTaskService) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		_, err := tasks.Kill(ctx, &taskAPI.KillRequest{ID: id, Signal: uint32(unix.SIGKILL), All: true})
		if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
}
