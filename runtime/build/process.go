package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// stopGrace is how long the build process may take to close its files before it is killed.
const stopGrace = 5 * time.Second

// process is the build process as the node sees it.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer // closing it asks the process to end
	socket string
	cgroup string
	done   chan struct{} // closed when it has ended

	removeNetwork func() error

	mu   sync.Mutex
	said []string // its last lines, for when it crashes
}

// wait reads what the process says until it has ended, and then sweeps up after it.
func (b *Builder) wait(p *process, stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.log.Debug("build process", "says", lines.Text())
		p.mu.Lock()
		if p.said = append(p.said, lines.Text()); len(p.said) > 20 {
			p.said = p.said[1:]
		}
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, stderr) // a line beyond the scanner's limit
	_ = p.cmd.Wait()                   // how it ended is in cmd.ProcessState
	if err := p.removeNetwork(); err != nil {
		b.log.Error("remove the build process's network", "err", err)
	}
	if err := sweepCgroup(p.cgroup); err != nil {
		b.log.Error("sweep up after the build process", "err", err)
	}
	b.log.Info("build process ended", "pid", p.cmd.Process.Pid, "state", p.cmd.ProcessState.String())
	close(p.done)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the process and returns when it has gone.
func (p *process) stop() {
	p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill() // it may have ended meanwhile
		<-p.done
	}
}

// ask hands a request to the process and follows it to its end.
func (p *process) ask(ctx context.Context, r Request, report func(runtime.Progress)) (Event, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return Event{}, p.lostError(ctx)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Event{}, p.lostError(ctx)
	}
	answers := json.NewDecoder(conn)
	for {
		var e Event
		if err := answers.Decode(&e); err != nil {
			return Event{}, p.lostError(ctx)
		}
		switch {
		case e.Failure != nil:
			return Event{}, e.Failure.err()
		case e.Done:
			return e, nil
		case e.Progress != nil && report != nil:
			report(*e.Progress)
		}
	}
}

// lostError explains why the process no longer answers.
func (p *process) lostError(ctx context.Context) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		return cloud.Errorf(cloud.Unavailable, "build: the build process does not answer").WithHint("push again")
	}
	p.mu.Lock()
	said := strings.Join(p.said, "\n")
	p.mu.Unlock()
	msg := "build: the build process ended: " + p.cmd.ProcessState.String()
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return cloud.Errorf(cloud.DeployFailed, "%s; it was killed, or ran out of memory", msg).WithHint("push again")
	}
	if said != "" {
		msg += "\n" + said
	}
	return cloud.Errorf(cloud.DeployFailed, "%s", msg).WithHint("push again")
}

func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if known, ok := errors.AsType[*cloud.Error](cause); ok {
		return known
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return cloud.Errorf(cloud.DeployFailed, "build: out of time: %w", cause)
	}
	return cloud.Errorf(cloud.Interrupted, "build: given up: %w", cause)
}
