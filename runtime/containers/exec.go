package containers

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Exec runs a process in a container, with the container's restrictions, and returns its exit code. If the process can't
// be run, it returns 126 or 127 and an error. When ctx ends, the process is killed.
func (d *Driver) Exec(ctx context.Context, id string, c runtime.Command) (int, error) {
	if len(c.Args) == 0 {
		return 0, cloud.Errorf(cloud.Invalid, "no command to run in container %q", id)
	}
	in, task, err := d.running(id)
	if err != nil {
		return 0, err
	}
	call := d.engine.Context(context.WithoutCancel(ctx)) // don't interrupt calls of the engine
	p, err := d.execSpec(call, in, task, c)
	if err != nil {
		return 0, err
	}
	streams := attach(&c)
	process, err := task.Exec(call, "x"+strings.ToLower(crand.Text()), p, streams.creator(d.engine.State()))
	if err != nil {
		return 0, fmt.Errorf("run %q in container %s: %w", c.Args[0], id, err)
	}
	code, held, err := d.runProcess(ctx, call, process, streams)
	if held {
		// The shim waits up to 10 s until children of the command close its output. Don't make the caller wait.
		go func() {
			if _, err := process.Delete(call); ignoreMissing(err) != nil {
				d.log.Debug("cannot remove an ended command from its shim", "instance", id, "err", err)
			}
		}()
	} else if _, gone := process.Delete(call, client.WithProcessKill); err == nil {
		err = ignoreMissing(gone)
	}
	if err != nil {
		return code, fmt.Errorf("run %q in container %s: %w", c.Args[0], id, err)
	}
	return code, nil
}

// runProcess starts a process and waits for its end. held is true if the process has ended but its children hold its
// output open.
func (d *Driver) runProcess(ctx, call context.Context, p client.Process, streams *attached) (code int, held bool, err error) {
	status, err := p.Wait(call)
	if err != nil {
		return 0, false, err
	}
	if err := p.Start(call); err != nil {
		code, err := commandNotRun(err)
		return code, false, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go streams.feed(d, p, ended)
	defer context.AfterFunc(ctx, streams.leave)()
	var s client.ExitStatus
	select {
	case s = <-status:
	case <-ctx.Done():
		if err := p.Kill(call, syscall.SIGKILL); err != nil && !errdefs.IsNotFound(err) {
			return 0, false, err
		}
		s = <-status
	}
	if err := s.Error(); err != nil {
		return 0, false, cloud.Errorf(cloud.Unavailable, "the container's shim has ended: %w", err)
	}
	held = !streams.flush(p.IO(), func() { ping(call, p) })
	return int(s.ExitCode()), held, ctx.Err()
}

// ping waits for an answer of a process's shim, which shows that the shim has had CPU time meanwhile.
func ping(ctx context.Context, p client.Process) {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	_, _ = p.Status(ctx) // only the answer counts
}

func commandNotRun(err error) (int, error) {
	text := err.Error()
	if _, cwd, ok := strings.Cut(text, `chdir to cwd ("`); ok {
		dir, _, _ := strings.Cut(cwd, `"`)
		return 126, cloud.Errorf(cloud.Invalid, "cannot enter folder %s in the container", dir)
	}
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return 127, cloud.Errorf(cloud.Invalid, "command not found in the container")
	case strings.Contains(text, "permission denied"), strings.Contains(text, "exec format error"), strings.Contains(text, "is a directory"):
		return 126, cloud.Errorf(cloud.Invalid, "the container can't execute it")
	}
	return 0, err
}

// execSpec returns the specification of the container's own process, changed by the command's fields.
func (d *Driver) execSpec(ctx context.Context, in *instance, task client.Task, c runtime.Command) (*specs.Process, error) {
	s, err := task.Spec(ctx)
	if err != nil {
		return nil, fmt.Errorf("specification of container %s: %w", in.id, err)
	}
	p := s.Process
	p.Args = c.Args
	p.Terminal, p.ConsoleSize = terminal(&c)
	if c.TTY {
		p.Env = override(p.Env, []string{"TERM=xterm"})
	}
	if c.Dir != "" {
		p.Cwd = filepath.Join("/", c.Dir)
	}
	if c.User != "" {
		// Read the container's current users, not the image's: it may have added some.
		root, err := os.Open(fmt.Sprintf("/proc/%d/root", in.pid))
		if err != nil {
			return nil, fmt.Errorf("open the files of container %s: %w", in.id, err)
		}
		defer root.Close()
		passwd, err1 := readIn(root, "etc/passwd")
		group, err2 := readIn(root, "etc/group")
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		u, err := findUser(c.User, passwd, group)
		if err != nil {
			return nil, err
		}
		p.User, p.Capabilities = u.spec(), capabilitiesOf(u)
		p.Env = override(p.Env, []string{"HOME=" + u.home, "USER=" + u.name})
	}
	p.Env = override(p.Env, c.Env)
	return p, nil
}
