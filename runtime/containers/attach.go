package containers

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/protoduction/micro/runtime"
)

// An ended process may have children that hold its output open or keep writing to it. The process's own output is then
// still in pipes and buffers between the shim and micro, and arrives within milliseconds.
const (
	// quiet is how long output must pause before any later output counts as that of other processes.
	quiet = 200 * time.Millisecond
	// flushTimeout limits the wait if output keeps coming. Time in which the reader is slow is not counted.
	flushTimeout = time.Second
	// maxBuffered is more than the pipes and buffers between a process and its reader can hold. Output after that many
	// bytes is that of other processes.
	maxBuffered = 2 << 20
	// flushTick is how often flush checks.
	flushTick = 10 * time.Millisecond
)

// attached has the streams and the terminal of a process that is connected to a caller.
type attached struct {
	c     *runtime.Command
	stdin eofReader
	// left is closed when the caller wants no more output.
	left  chan struct{}
	leave func()

	writing atomic.Int64 // number of writes that wait for the reader
	written atomic.Int64 // bytes
}

func attach(c *runtime.Command) *attached {
	a := &attached{c: c, stdin: eofReader{r: c.Stdin, eof: make(chan struct{})}, left: make(chan struct{})}
	a.leave = sync.OnceFunc(func() { close(a.left) })
	return a
}

// fifos returns the private folder of the pipes to attached processes.
func fifos(state string) string { return filepath.Join(state, "f") }

// creator returns a function that makes the process's end of the streams.
func (a *attached) creator(state string) cio.Creator {
	var in io.Reader
	if a.c.Stdin != nil {
		in = &a.stdin
	}
	opts := []cio.Opt{cio.WithFIFODir(fifos(state))}
	if a.c.TTY {
		opts = append(opts, cio.WithStreams(in, outlet{a, a.c.Stdout}, nil), cio.WithTerminal)
	} else {
		opts = append(opts, cio.WithStreams(in, outlet{a, a.c.Stdout}, outlet{a, a.c.Stderr}))
	}
	return cio.NewCreator(opts...)
}

// outlet passes output to a writer; nil discards it.
type outlet struct {
	*attached
	w io.Writer
}

func (o outlet) Write(p []byte) (int, error) {
	o.writing.Add(1)
	defer o.writing.Add(-1)
	o.written.Add(int64(len(p)))
	if o.w == nil {
		return len(p), nil
	}
	return o.w.Write(p)
}

// feed passes the end of input and changed terminal sizes to the process until ended is closed.
func (a *attached) feed(d *Driver, p client.Process, ended <-chan struct{}) {
	ctx := d.engine.Context(context.Background())
	resize, eof := a.c.Resize, a.stdin.eof
	if !a.c.TTY {
		resize = nil
	}
	for {
		select {
		case size, ok := <-resize:
			if !ok {
				resize = nil
				continue
			}
			if err := p.Resize(ctx, uint32(size.Columns), uint32(size.Rows)); err != nil && !errdefs.IsNotFound(err) {
				d.log.Debug("cannot resize a terminal", "err", err)
			}
		case <-eof:
			eof = nil
			// All input is already in the FIFO; the shim passes it on before it closes.
			if err := p.CloseIO(ctx, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(err) {
				d.log.Debug("cannot close the input of a process", "err", err)
			}
		case <-ended:
			return
		}
	}
}

// flush waits until the output of an ended process has been written to its reader, however slow the reader is. ended is
// false if the output has no end, because other processes hold it open or the reader has left. ping calls the shim and
// returns when it has answered.
func (a *attached) flush(streams cio.IO, ping func()) (ended bool) {
	done := make(chan struct{})
	go func() {
		streams.Wait()
		close(done)
	}()
	tick := time.NewTicker(flushTick)
	defer tick.Stop()
	first, before := a.written.Load(), a.written.Load()
	var silent, spent time.Duration
	for {
		select {
		case <-done:
			return true
		case <-a.left:
			streams.Cancel()
			return false
		case <-tick.C:
		}
		now := a.written.Load()
		if a.writing.Load() > 0 { // the reader is slow
			before, silent = now, 0
			continue
		}
		spent += flushTick
		silent += flushTick
		if now != before {
			before, silent = now, 0
		}
		if silent >= quiet && spent < flushTimeout {
			ping()
			if a.written.Load() != before || a.writing.Load() > 0 {
				continue
			}
		}
		if silent >= quiet || spent >= flushTimeout || now-first > maxBuffered {
			streams.Cancel()
			return false
		}
	}
}

// eofReader closes a channel when its reader has ended. A nil reader never ends.
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

// dropStreams ends the commands whose streams were lost when micro was killed: commands in containers that still run
// would wait for ever for a reader of their output.
func (d *Driver) dropStreams(ctx context.Context) error {
	left, err := os.ReadDir(fifos(d.engine.State()))
	if err := ignoreMissing(err); err != nil || len(left) == 0 {
		return err
	}
	for _, in := range d.instances {
		if in.task == nil || in.exited() != nil {
			continue
		}
		if err := d.endCommands(ctx, in.task); err != nil {
			return err
		}
	}
	return os.RemoveAll(fifos(d.engine.State()))
}

// endCommands kills all commands that were run in a container.
func (d *Driver) endCommands(ctx context.Context, task client.Task) error {
	all, err := task.Pids(ctx)
	if err != nil {
		return ignoreMissing(err)
	}
	for _, p := range all {
		if p.Info == nil {
			continue // a child process
		}
		info, err := typeurl.UnmarshalAny(p.Info)
		if err != nil {
			return err
		}
		details, ok := info.(*runcoptions.ProcessDetails)
		if !ok || details.ExecID == "" || details.ExecID == task.ID() {
			continue
		}
		if err := endCommand(ctx, task, details.ExecID); ignoreMissing(err) != nil {
			return fmt.Errorf("end process %s in container %s: %w", details.ExecID, task.ID(), err)
		}
	}
	return nil
}

func endCommand(ctx context.Context, task client.Task, id string) error {
	p, err := task.LoadProcess(ctx, id, nil)
	if err != nil {
		return err
	}
	// Don't use client.WithProcessKill: it does not kill a loaded process, because it has no PID for it.
	ended, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if err := p.Kill(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(killTimeout):
	}
	_, err = p.Delete(ctx)
	return err
}
