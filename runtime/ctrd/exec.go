package ctrd

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// lastWords is how long the output of an ended process is waited for: one that it left behind in the
// background may hold it open for ever.
const lastWords = 2 * time.Second

// Exec runs a process in a container, with the walls that the container has, and returns its exit code:
// 126 or 127 with an error where it can't be run. When ctx ends, the process is killed.
func (d *Driver) Exec(ctx context.Context, id string, c runtime.Command) (int, error) {
	if len(c.Args) == 0 {
		return 0, cloud.Errorf(cloud.Invalid, "no command to run in container %q", id)
	}
	in, task, err := d.running(id)
	if err != nil {
		return 0, err
	}
	call := d.e.ctx(context.WithoutCancel(ctx)) // a call that was begun is seen through
	p, err := d.execSpec(call, in, task, c)
	if err != nil {
		return 0, err
	}
	stdin := &eofReader{r: c.Stdin, eof: make(chan struct{})}
	process, err := task.Exec(call, "x"+strings.ToLower(crand.Text()), p, cio.NewCreator(d.streams(c, stdin)...))
	if err != nil {
		return 0, fmt.Errorf("run %q in container %s: %w", c.Args[0], id, err)
	}
	code, err := d.attend(ctx, call, process, c, stdin)
	_, gone := process.Delete(call, client.WithProcessKill)
	if err == nil {
		err = missing(gone)
	}
	if err != nil {
		return code, fmt.Errorf("run %q in container %s: %w", c.Args[0], id, err)
	}
	return code, nil
}

func (d *Driver) streams(c runtime.Command, stdin *eofReader) []cio.Opt {
	opts := []cio.Opt{cio.WithFIFODir(filepath.Join(d.e.cfg.State, "f"))}
	var in io.Reader
	if c.Stdin != nil {
		in = stdin
	}
	out, errs := orDiscard(c.Stdout), orDiscard(c.Stderr)
	if c.TTY {
		return append(opts, cio.WithStreams(in, out, nil), cio.WithTerminal)
	}
	return append(opts, cio.WithStreams(in, out, errs))
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// attend sees a process through from its start to its end.
func (d *Driver) attend(ctx, call context.Context, p client.Process, c runtime.Command, stdin *eofReader) (int, error) {
	status, err := p.Wait(call)
	if err != nil {
		return 0, err
	}
	if err := p.Start(call); err != nil {
		return commandNotRun(err)
	}
	resize := c.Resize
	if !c.TTY {
		resize = nil
	}
	ended := ctx.Done()
	eof := stdin.eof
	for {
		select {
		case s := <-status:
			if err := s.Error(); err != nil {
				return 0, cloud.Errorf(cloud.Unavailable, "the container's shim is gone: %w", err)
			}
			flush(p.IO())
			if err := ctx.Err(); err != nil {
				return int(s.ExitCode()), err
			}
			return int(s.ExitCode()), nil
		case size, ok := <-resize:
			if !ok {
				resize = nil
				continue
			}
			if err := p.Resize(call, uint32(size.Columns), uint32(size.Rows)); err != nil && !errdefs.IsNotFound(err) {
				d.log.Debug("terminal can't be resized", "err", err)
			}
		case <-eof:
			eof = nil
			// What was read is in the FIFO already; the shim hands it on before it closes.
			if err := p.CloseIO(call, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(err) {
				d.log.Debug("input can't be closed", "err", err)
			}
		case <-ended:
			ended = nil
			if err := p.Kill(call, sig(9)); err != nil && !errdefs.IsNotFound(err) {
				return 0, err
			}
		}
	}
}

// flush waits for the output to be copied.
func flush(streams cio.IO) {
	done := make(chan struct{})
	go func() {
		streams.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(lastWords):
		streams.Cancel()
	}
}

func commandNotRun(err error) (int, error) {
	text := err.Error()
	switch {
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return 127, cloud.Errorf(cloud.Invalid, "it is not in the container")
	case strings.Contains(text, "permission denied"), strings.Contains(text, "exec format error"), strings.Contains(text, "is a directory"):
		return 126, cloud.Errorf(cloud.Invalid, "it can't be executed there")
	}
	return 0, err
}

// execSpec is the container's own process, but for what the command says.
func (d *Driver) execSpec(ctx context.Context, in *instance, task client.Task, c runtime.Command) (*specs.Process, error) {
	s, err := task.Spec(ctx)
	if err != nil {
		return nil, fmt.Errorf("specification of container %s: %w", in.id, err)
	}
	p := s.Process
	p.Args, p.Terminal = c.Args, c.TTY
	if c.TTY {
		if c.Rows > 0 && c.Columns > 0 {
			p.ConsoleSize = &specs.Box{Height: uint(c.Rows), Width: uint(c.Columns)}
		}
		p.Env = override(p.Env, []string{"TERM=xterm"})
	}
	if c.Dir != "" {
		p.Cwd = filepath.Join("/", c.Dir)
	}
	if c.User != "" {
		// As the container has it now, not the image: it may have added users since.
		root, err := os.Open(fmt.Sprintf("/proc/%d/root", in.pid))
		if err != nil {
			return nil, fmt.Errorf("look into container %s: %w", in.id, err)
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

// eofReader tells when its reader has ended, once. A nil reader never does.
type eofReader struct {
	r    io.Reader
	once sync.Once
	eof  chan struct{}
}

func (e *eofReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil {
		e.once.Do(func() { close(e.eof) })
	}
	return n, err
}
