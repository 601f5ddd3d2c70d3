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

// A process that has ended may have left others behind that hold its output open, or go on writing to it. Its
// own output is in pipes and buffers then, on its way through the shim, and is here within milliseconds.
const (
	// quiet is how long nothing may come before the rest of an ended process's output counts as somebody else's.
	quiet = 200 * time.Millisecond
	// lastWords bounds the wait where something keeps coming. Time that the reader takes is not counted.
	lastWords = time.Second
	// underway is more than pipes and buffers between a process and its reader hold. What comes after that many
	// bytes is somebody else's.
	underway = 2 << 20
	// flushTick is how often flush looks.
	flushTick = 10 * time.Millisecond
)

// attached are the streams and the terminal of a process that somebody here holds.
type attached struct {
	c     *runtime.Command
	stdin eofReader
	// left is closed when nobody wants its output any more.
	left  chan struct{}
	leave func()

	writing atomic.Int64 // writes that wait for the reader
	written atomic.Int64 // bytes
}

func attach(c *runtime.Command) *attached {
	a := &attached{c: c, stdin: eofReader{r: c.Stdin, eof: make(chan struct{})}, left: make(chan struct{})}
	a.leave = sync.OnceFunc(func() { close(a.left) })
	return a
}

// fifos is the private folder of the pipes to processes whose streams somebody holds.
func fifos(state string) string { return filepath.Join(state, "f") }

// creator makes the process's end of the streams.
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

// outlet is where output goes to; nil is nowhere.
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

// feed hands the process the end of its input and the sizes of its terminal until ended is closed.
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
				d.log.Debug("terminal can't be resized", "err", err)
			}
		case <-eof:
			eof = nil
			// What was read is in the FIFO already; the shim hands it on before it closes.
			if err := p.CloseIO(ctx, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(err) {
				d.log.Debug("input can't be closed", "err", err)
			}
		case <-ended:
			return
		}
	}
}

// flush waits until the output of a process that has ended is where it belongs, however slowly its reader reads.
// It reports false where the output did not end, because other processes hold it open or the reader has left.
// ping asks something of the shim and returns when it has answered.
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
		if a.writing.Load() > 0 { // the reader takes its time
			before, silent = now, 0
			continue
		}
		spent += flushTick
		silent += flushTick
		if now != before {
			before, silent = now, 0
		}
		if silent >= quiet && spent < lastWords {
			ping()
			if a.written.Load() != before || a.writing.Load() > 0 {
				continue
			}
		}
		if silent >= quiet || spent >= lastWords || now-first > underway {
			streams.Cancel()
			return false
		}
	}
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

// dropStreams ends what processes have lost their streams with a killed micro: commands in containers
// that run on would wait for ever for somebody to take their output.
func (d *Driver) dropStreams(ctx context.Context) error {
	left, err := os.ReadDir(fifos(d.engine.State()))
	if err := missing(err); err != nil || len(left) == 0 {
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

// endCommands kills all processes that were run in a container beside its own.
func (d *Driver) endCommands(ctx context.Context, task client.Task) error {
	all, err := task.Pids(ctx)
	if err != nil {
		return missing(err)
	}
	for _, p := range all {
		if p.Info == nil {
			continue // a child of one of them, or of the container's own
		}
		info, err := typeurl.UnmarshalAny(p.Info)
		if err != nil {
			return err
		}
		details, ok := info.(*runcoptions.ProcessDetails)
		if !ok || details.ExecID == "" || details.ExecID == task.ID() {
			continue
		}
		if err := endCommand(ctx, task, details.ExecID); missing(err) != nil {
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
	// By hand: client.WithProcessKill leaves a process alone that was loaded, for it has no PID of it.
	ended, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if err := p.Kill(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(patience):
	}
	_, err = p.Delete(ctx)
	return err
}
