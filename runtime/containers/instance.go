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
	"github.com/protoduction/micro/runtime/engine/shim"
	"github.com/protoduction/micro/runtime/network"
)

// Labels of a container's record that are ours, not the caller's.
const (
	labelPrefix  = "micro.engine/"
	labelIP      = labelPrefix + "ip"
	labelTenant  = labelPrefix + "tenant"
	labelBoot    = labelPrefix + "boot"
	labelStop    = labelPrefix + "stop-signal" // missing if the image has no STOPSIGNAL
	labelService = labelPrefix + "service"     // missing if the container runs no service
	labelReaches = labelPrefix + "reaches"     // services that it reaches, with spaces between
	labelShim    = labelPrefix + "shim"        // the group of containers that share a shim; older containers lack it
	labelInit    = labelPrefix + "init"        // path of micro's init; missing if the app is process 1
)

// instance is a container that runs, or that has ended and was not removed yet.
type instance struct {
	id      string
	labels  map[string]string
	ip      netip.Addr
	tenant  uint32
	access  network.Access
	pid     uint32
	started time.Time
	stop    syscall.Signal // the signal that asks it to end
	init    bool           // its process 1 is micro's init
	task    client.Task    // nil if the task ended with its shim or its machine
	streams *attached      // nil if its output goes to a log
	shim    *engine.Shim   // nil if task is nil, and while the container is being removed

	done chan struct{} // closed when exit is set

	mu     sync.Mutex // guards the fields below
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

// watch waits for the task's end. It uses Wait, because events may be lost.
func (d *Driver) watch(in *instance, status <-chan client.ExitStatus) {
	s := <-status
	if in.streams != nil {
		in.streams.flush(in.task.IO(), func() { ping(d.engine.Context(context.Background()), in.task) })
		if err := in.task.IO().Close(); err != nil {
			d.log.Warn("cannot close the pipes of a container", "instance", in.id, "err", err)
		}
	}
	if err := s.Error(); err != nil {
		// The shim has ended, and with it the only record of the exit code.
		d.finish(in, runtime.Exit{Code: 137, Lost: true, At: time.Now(), Reason: "its shim ended"})
		return
	}
	d.finish(in, d.exitOf(in.id, int(s.ExitCode()), s.ExitTime()))
}

// exitOf returns the Exit for the shim's exit code. Whether memory ran out is read from the cgroup, which exists until
// Remove.
func (d *Driver) exitOf(id string, code int, at time.Time) runtime.Exit {
	if _, err := os.Stat(shim.KilledFile(d.engine.State(), id)); err == nil {
		return runtime.Exit{Code: code, Lost: true, At: at, Reason: "this node could not renew its lease, so that another one may run it"}
	}
	x := runtime.Exit{Code: code, At: at}
	// The killed process may be another one than the first, which may then have ended because of that. But if the first
	// one ended with success, memory was not the reason.
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
		d.log.Warn("cannot store a container's exit for a restart", "instance", in.id, "err", err)
	}
	in.end(x)
}

// Files in a container's folder in State.
const (
	startedFile = "started.json" // written at the end of Start; without it, the container is incomplete
	exitFile    = "exit.json"    // written when the container has ended
)

type started struct {
	PID uint32
	At  time.Time
}

// etc returns the folder with the files that the node mounts into a container's /etc.
func (d *Driver) etc(id string) string { return filepath.Join(d.engine.Root(), "etc", id) }

func (d *Driver) folder(id string) string { return instanceFolder(d.engine.State(), id) }

func instanceFolder(state, id string) string { return filepath.Join(state, "i", id) }

// writeJSON replaces a file atomically.
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

// readJSON reports whether the file exists.
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

// stopSignal parses an image's STOPSIGNAL: SIGINT, INT, 2 or SIGRTMIN+3. It returns SIGTERM if that is empty or invalid.
func stopSignal(name string) syscall.Signal {
	if s, err := signal.ParseSignal(name); err == nil && s > 0 && s <= 64 {
		return s
	}
	return syscall.SIGTERM
}

// detached returns a context for cleaning up, which continues after the caller's context has ended, but not for ever.
func (d *Driver) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(d.engine.Context(context.WithoutCancel(ctx)), 30*time.Second)
}
