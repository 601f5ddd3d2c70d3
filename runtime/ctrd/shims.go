package ctrd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/pkg/sys"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/ctrd/shim"
)

// shims are the processes between micro and its containers. containerd would have each container's start
// execute the shim once more, to be told which shim to use; it is told by us instead, by what it knows as
// a sandbox's address. So a shim can also be there before anything is to run in it.
type shims struct {
	cfg     Config
	program string
	log     *slog.Logger

	mu     sync.Mutex // guards what follows, and users of each
	groups map[string]*shimProcess
	spare  *shimProcess
	taken  chan struct{} // has something in it when the spare is gone
}

// shimProcess is a shim that takes containers.
type shimProcess struct {
	socket  string
	group   string      // what runs in it
	users   int         // containers that are in it, or on their way in or out
	process *os.Process // nil where an earlier micro started it
}

// sandboxID is the one sandbox that all containers are recorded in: containerd asks no more of it than that
// it is there.
const sandboxID = "micro"

// newShims makes sure of the sandbox's record.
func newShims(ctx context.Context, e *Engine, program string) (*shims, error) {
	_, err := e.client.SandboxStore().Create(e.ctx(ctx), sandbox.Sandbox{ID: sandboxID, Runtime: sandbox.RuntimeOpts{Name: shim.Name}})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return nil, fmt.Errorf("record the shims' sandbox: %w", err)
	}
	return &shims{
		cfg: e.cfg, program: program, log: e.log,
		groups: map[string]*shimProcess{}, taken: make(chan struct{}, 1),
	}, nil
}

// endpoint is where containerd finds it, and in which of its protocol's versions.
func (p *shimProcess) endpoint() (address string, version uint32) {
	return "ttrpc+unix://" + p.socket, 3
}

// join takes a container into its group's shim: the one that is there, or the spare one, or one that is
// being started.
func (s *shims) join(group string) (*shimProcess, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.groups[group]
	if p == nil {
		if p = s.spare; p == nil {
			var err error
			if p, err = s.launch(); err != nil {
				return nil, fmt.Errorf("start a shim: %w", err)
			}
		}
		s.spare = nil
		s.want()
		p.group, s.groups[group] = group, p
	}
	p.users++
	return p, nil
}

// leave counts a container out before it is removed, for its shim ends with the last one: the next
// container of the group gets another shim. It reports whether this was the last.
func (s *shims) leave(p *shimProcess) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.users--; p.users > 0 {
		return false
	}
	s.forget(p)
	return true
}

// forget sees to it that nothing joins p any more. A spare one that ended by itself is not made good before
// the next release: the next might end just as soon. s.mu is held.
func (s *shims) forget(p *shimProcess) {
	if s.groups[p.group] == p {
		delete(s.groups, p.group)
	}
	if s.spare == p {
		s.spare = nil
	}
}

// lost is told of a shim that does not answer.
func (s *shims) lost(p *shimProcess) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(p)
}

// another takes a container into another shim of its group than p, which does not answer.
func (s *shims) another(p *shimProcess, group string) (*shimProcess, error) {
	s.lost(p)
	if s.leave(p) {
		if err := s.end(p); err != nil {
			return nil, err
		}
	}
	return s.join(group)
}

// end ends a shim that nothing is in. containerd has asked it to end itself, unless nothing ever was in it.
func (s *shims) end(p *shimProcess) error {
	if p.process != nil {
		if err := p.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end a shim: %w", err)
		}
	}
	return missing(os.Remove(p.socket))
}

// adopt takes over a shim that an earlier micro started, by a container in it.
func (s *shims) adopt(container, group string) (*shimProcess, error) {
	socket, err := shimSocket(bundle(s.cfg, container))
	if err != nil {
		return nil, err
	}
	p := s.groups[group]
	if p == nil || p.socket != socket {
		p = &shimProcess{socket: socket, group: group}
		s.groups[group] = p
	}
	p.users++
	return p, nil
}

// launch starts a shim. It listens from the beginning, and answers when it is ready. s.mu is held.
func (s *shims) launch() (*shimProcess, error) {
	id := rand.Text()[:16]
	p := &shimProcess{socket: filepath.Join(s.cfg.State, "s", id)}
	if err := os.MkdirAll(filepath.Dir(p.socket), 0o700); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: p.socket})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	listening, err := l.File()
	if err != nil {
		return nil, errors.Join(err, os.Remove(p.socket))
	}
	defer listening.Close()
	// What it says, which is next to nothing, goes to a file: it outlives whoever reads our standard error.
	says, err := os.OpenFile(filepath.Join(s.cfg.State, "shim.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, os.Remove(p.socket))
	}
	defer says.Close()
	cmd := exec.Command(s.program, "-namespace", s.cfg.Namespace, "-id", id, "-address", filepath.Join(s.cfg.State, "c"))
	cmd.Dir = s.cfg.State
	cmd.Env = append(os.Environ(), "GOMAXPROCS=4", "TTRPC_ADDRESS="+filepath.Join(s.cfg.State, "c.ttrpc"))
	cmd.Stderr = says
	cmd.ExtraFiles = []*os.File{listening} // its number 3, where a shim looks for it
	pidfd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.Remove(p.socket))
	}
	p.process = cmd.Process
	go func() {
		awaitExit(pidfd)
		_ = cmd.Wait() // however it ended
		s.lost(p)
		_ = os.Remove(p.socket) // or the next Open does it
	}()
	// When memory is short it goes before micro, and after the app, whose score is 100.
	score, err := sys.GetOOMScoreAdj(os.Getpid())
	if err == nil {
		err = sys.AdjustOOMScore(p.process.Pid, score+1)
	}
	if err != nil {
		return nil, errors.Join(err, s.end(p))
	}
	return p, nil
}

// awaitExit returns when the process of a pidfd has ended, and closes it. Unlike wait(2) it holds no thread
// meanwhile. Where the kernel has no pidfds it is -1, and awaitExit returns at once.
func awaitExit(pidfd int) {
	if pidfd < 0 || unix.SetNonblock(pidfd, true) != nil {
		return
	}
	f := os.NewFile(uintptr(pidfd), "pidfd")
	defer f.Close()
	if c, err := f.SyscallConn(); err == nil {
		looked := false
		_ = c.Read(func(uintptr) bool { // again when the process has ended
			defer func() { looked = true }()
			return looked
		})
	}
}

// want asks for another spare.
func (s *shims) want() {
	select {
	case s.taken <- struct{}{}:
	default:
	}
}

// spareDelay keeps the making of another spare out of the way of the start that took the last one.
const spareDelay = 100 * time.Millisecond

// keepSpare has a shim ready for the next release until ctx ends: starting one takes a third of the time
// that starting a container takes.
func (s *shims) keepSpare(ctx context.Context) {
	s.want()
	for {
		select {
		case <-s.taken:
		case <-ctx.Done():
			s.mu.Lock()
			p := s.spare
			s.spare = nil
			s.mu.Unlock()
			if p != nil {
				if err := s.end(p); err != nil {
					s.log.Warn("the spare shim does not end", "err", err)
				}
			}
			return
		}
		select {
		case <-time.After(spareDelay):
		case <-ctx.Done():
			continue
		}
		s.mu.Lock()
		var err error
		if s.spare == nil {
			s.spare, err = s.launch()
		}
		s.mu.Unlock()
		if err != nil {
			s.log.Warn("no spare shim can be started", "err", err)
		}
	}
}

// waits says whether a process is the spare.
func (s *shims) waits(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spare != nil && s.spare.process.Pid == pid
}
