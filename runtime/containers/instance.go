package containers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/moby/sys/signal"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
)

// Labels of a container's record that are ours, not the caller's.
const (
	labelPrefix = "micro.engine/"
	labelIP     = labelPrefix + "ip"
	labelTenant = labelPrefix + "tenant"
	labelBoot   = labelPrefix + "boot"
	labelStop   = labelPrefix + "stop-signal" // missing where the image names none
	labelShim   = labelPrefix + "shim"        // what it shares its shim with; older containers lack it
	labelInit   = labelPrefix + "init"        // path of micro's init; missing where the app is process 1
)

// instance is a container that was started: one that runs, or one that has ended and was not removed yet.
type instance struct {
	id      string
	labels  map[string]string
	ip      netip.Addr
	tenant  uint32
	pid     uint32
	started time.Time
	stop    syscall.Signal // that asks it to end
	init    bool           // its process 1 is micro's init
	task    client.Task    // nil where the task is gone with its shim or its machine
	streams *attached      // nil for one whose output goes to a log
	shim    *engine.Shim   // nil where the task is, and while it is being removed

	done chan struct{} // closed when exit is set

	mu     sync.Mutex // guards what follows
	exit   *runtime.Exit
	reason string // why we ended it, if we did
}

func (in *instance) exited() *runtime.Exit {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.exit
}

func (in *instance) blame(reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reason = reason
}

func (in *instance) end(x runtime.Exit) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.exit != nil {
		return
	}
	if x.Reason == "" {
		x.Reason = in.reason
	}
	in.exit = &x
	close(in.done)
}

func (in *instance) running() runtime.Running {
	return runtime.Running{
		ID: in.id, Labels: in.labels, IP: in.ip, PID: in.pid, Started: in.started, Exit: in.exited(),
	}
}

// watch waits for the task's end. Only its Wait is to be trusted: an event may be lost.
func (d *Driver) watch(in *instance, status <-chan client.ExitStatus) {
	s := <-status
	if in.streams != nil {
		in.streams.flush(in.task.IO(), func() { ping(d.engine.Context(context.Background()), in.task) })
		if err := in.task.IO().Close(); err != nil {
			d.log.Warn("pipes of a container are left", "instance", in.id, "err", err)
		}
	}
	if err := s.Error(); err != nil {
		// The shim is gone, and how the container ended with it.
		d.finish(in, runtime.Exit{Code: 137, Lost: true, At: time.Now(), Reason: "its shim ended"})
		return
	}
	d.finish(in, d.exitOf(in.id, int(s.ExitCode()), s.ExitTime()))
}

// exitOf makes an Exit of what the shim said; the cgroup, which lasts until Remove, knows of memory.
func (d *Driver) exitOf(id string, code int, at time.Time) runtime.Exit {
	x := runtime.Exit{Code: code, At: at}
	// A process other than the first may have been the victim, and the first may have ended of that: what
	// ended well did not end for want of memory.
	if code != 0 {
		kills, err := d.cgroupOf(id).oomKills()
		if err != nil {
			d.log.Debug("out-of-memory kills of a container are unknown", "instance", id, "err", err)
		}
		x.OOM = kills > 0
	}
	return x
}

func (d *Driver) finish(in *instance, x runtime.Exit) {
	if err := writeJSON(filepath.Join(d.folder(in.id), exitFile), x); err != nil {
		d.log.Warn("a container's exit is not kept over a restart", "instance", in.id, "err", err)
	}
	in.end(x)
}

// A container's folder in State holds the files that are mounted into it, and:
const (
	startedFile = "started.json" // written when Start was through; a container without it is half made
	exitFile    = "exit.json"    // written when it ended
)

type started struct {
	PID uint32
	At  time.Time
}

// etc is the folder of the files in /etc that the node gives an instance.
func (d *Driver) etc(id string) string { return filepath.Join(d.engine.Root(), "etc", id) }

func (d *Driver) folder(id string) string { return instanceFolder(d.engine.State(), id) }

func instanceFolder(state, id string) string { return filepath.Join(state, "i", id) }

// writeJSON replaces a file as a whole.
func writeJSON(file string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// readJSON reports false for a file that is not there.
func readJSON(file string, v any) (bool, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("%s: %w", file, err)
	}
	return true, nil
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("this boot's ID: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// stopSignal reads STOPSIGNAL of an image: SIGINT, INT, 2 or SIGRTMIN+3; SIGTERM where it is empty or no
// signal.
func stopSignal(name string) syscall.Signal {
	if s, err := signal.ParseSignal(name); err == nil && s > 0 && s <= 64 {
		return s
	}
	return syscall.SIGTERM
}

// detached is for cleaning up: it goes on when the caller has given up, but not for ever.
func (d *Driver) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(d.engine.Context(context.WithoutCancel(ctx)), 30*time.Second)
}
