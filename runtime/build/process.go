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

// process is the node's view of the build process.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer // closing it makes the process end
	socket string
	cgroup string
	done   chan struct{} // closed after the process has ended

	removeNetwork func() error

	mu   sync.Mutex
	said []string // its last lines, to report a crash
}

// wait reads the output of the process until it has ended, and then cleans up.
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
	_ = p.cmd.Wait()                   // cmd.ProcessState has the result
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

// stop ends the process and waits until it has ended.
func (p *process) stop() {
	p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.cmd.Process.Kill() // fails if it has already ended
		<-p.done
	}
}

// ask sends a request to the process and waits for the result.
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
		return cloud.Errorf(cloud.DeployFailed, "build: timed out: %w", cause)
	}
	return cloud.Errorf(cloud.Interrupted, "build: cancelled: %w", cause)
}
