package engine

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

	"github.com/protoduction/micro/runtime/engine/helpers"
	"github.com/protoduction/micro/runtime/engine/shim"
)

// Shims are the processes between micro and its containers. containerd would execute the shim program once
// more at each container's start, to ask which shim to use. micro tells containerd instead, by what it knows
// as a sandbox's address. So a shim can also be started before any container is to run in it.
type Shims struct {
	cfg     Config
	helpers helpers.Paths
	log     *slog.Logger

	mu     sync.Mutex // guards what follows, and users of each
	groups map[string]*Shim
	spare  *Shim
	taken  chan struct{} // has something in it when the spare is gone
}

// Shim is a process that containers run in.
type Shim struct {
	socket  string
	group   string      // the group of containers that run in it
	users   int         // containers that are in it, or on their way in or out
	process *os.Process // nil where an earlier micro started it
}

// SandboxID is the one sandbox that all containers are recorded in: containerd asks no more of it than that
// it is there.
const SandboxID = "micro"

// ShimMain runs the shim and reports true if this process was started as one. It has to be the first
// thing that main does, and main has to return when it reports true.
func ShimMain() bool { return helpers.Main() }

// Shims returns the Engine's shims, and installs the programs that they need: those that the binary carries
// go to a folder below data.
func (e *Engine) Shims(ctx context.Context, data string) (*Shims, error) {
	programs, err := helpers.Install(ctx, data, filepath.Join(e.cfg.State, "bin"))
	if err != nil {
		return nil, err
	}
	_, err = e.client.SandboxStore().Create(e.Context(ctx), sandbox.Sandbox{ID: SandboxID, Runtime: sandbox.RuntimeOpts{Name: shim.Name}})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return nil, fmt.Errorf("record the shims' sandbox: %w", err)
	}
	return &Shims{
		cfg: e.cfg, helpers: programs, log: e.log,
		groups: map[string]*Shim{}, taken: make(chan struct{}, 1),
	}, nil
}

// Runc returns the path of the program that makes containers.
func (s *Shims) Runc() string { return s.helpers.Runc }

// Init returns the path of the program that is process 1 of containers, "" where there is none.
func (s *Shims) Init() string { return s.helpers.Init }

// Program returns the path of the shim itself.
func (s *Shims) Program() string { return s.helpers.Shim }

// Run keeps a spare shim ready, and ends shims that no container needs, until ctx ends.
func (s *Shims) Run(ctx context.Context) {
	var looking sync.WaitGroup
	looking.Go(func() { s.endOrphans(ctx) })
	looking.Go(func() { s.keepSpare(ctx) })
	looking.Wait()
}

// Destroy ends all shims that no container needs.
func (s *Shims) Destroy() error { return killOrphans(s.cfg) }

// Endpoint returns the address where containerd finds the shim, and the version of its protocol.
func (p *Shim) Endpoint() (address string, version uint32) {
	return "ttrpc+unix://" + p.socket, 3
}

// Join takes a container into its group's shim: the running one, or the spare, or a new one.
func (s *Shims) Join(group string) (*Shim, error) {
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

// Leave counts a container out before it is removed, for its shim ends with the last one: the next
// container of the group gets another shim. It reports whether this was the last.
func (s *Shims) Leave(p *Shim) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.users--; p.users > 0 {
		return false
	}
	s.forget(p)
	return true
}

// forget makes sure that no container joins p any more. Don't replace a spare shim that exited by itself
// before the next release: it might exit again just as soon. s.mu is held.
func (s *Shims) forget(p *Shim) {
	if s.groups[p.group] == p {
		delete(s.groups, p.group)
	}
	if s.spare == p {
		s.spare = nil
	}
}

// drop forgets a shim that does not answer.
func (s *Shims) drop(p *Shim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(p)
}

// Replace takes a container out of the shim p, which does not answer, into another shim of its group.
func (s *Shims) Replace(p *Shim, group string) (*Shim, error) {
	s.drop(p)
	if s.Leave(p) {
		if err := s.End(p); err != nil {
			return nil, err
		}
	}
	return s.Join(group)
}

// End ends a shim that no container is in. containerd has asked it to end itself, unless none ever was.
func (s *Shims) End(p *Shim) error {
	if p.process != nil {
		if err := p.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end a shim: %w", err)
		}
	}
	return ignoreMissing(os.Remove(p.socket))
}

// Adopt takes over a shim that an earlier micro started, by a container in it.
func (s *Shims) Adopt(container, group string) (*Shim, error) {
	socket, err := shimSocket(s.cfg.Bundle(container))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.groups[group]
	if p == nil || p.socket != socket {
		p = &Shim{socket: socket, group: group}
		s.groups[group] = p
	}
	p.users++
	return p, nil
}

// launch starts a shim. Its socket listens at once; it answers when it is ready. s.mu is held.
func (s *Shims) launch() (*Shim, error) {
	id := rand.Text()[:16]
	p := &Shim{socket: filepath.Join(s.cfg.State, "s", id)}
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
	// Its output, which is next to nothing, goes to a file: the shim outlives whoever reads our standard error.
	output, err := os.OpenFile(filepath.Join(s.cfg.State, "shim.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, os.Remove(p.socket))
	}
	defer output.Close()
	cmd := exec.Command(s.helpers.Shim, "-namespace", namespace, "-id", id, "-address", filepath.Join(s.cfg.State, "c"))
	cmd.Dir = s.cfg.State
	cmd.Env = append(os.Environ(), "GOMAXPROCS=4", "TTRPC_ADDRESS="+filepath.Join(s.cfg.State, "c.ttrpc"))
	cmd.Stderr = output
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
		s.drop(p)
		_ = os.Remove(p.socket) // or the next Open does it
	}()
	// When memory is short it goes before micro, and after the app, whose score is 100.
	score, err := sys.GetOOMScoreAdj(os.Getpid())
	if err == nil {
		err = sys.AdjustOOMScore(p.process.Pid, score+1)
	}
	if err != nil {
		return nil, errors.Join(err, s.End(p))
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
func (s *Shims) want() {
	select {
	case s.taken <- struct{}{}:
	default:
	}
}

// spareDelay keeps the making of another spare out of the way of the start that took the last one.
const spareDelay = 100 * time.Millisecond

// keepSpare has a shim ready for the next release until ctx ends: starting one takes a third of the time
// that starting a container takes.
func (s *Shims) keepSpare(ctx context.Context) {
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
				if err := s.End(p); err != nil {
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

// Spare returns the process ID of the spare shim, 0 where there is none.
func (s *Shims) Spare() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spare == nil {
		return 0
	}
	return s.spare.process.Pid
}
