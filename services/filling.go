package services

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/api"
)

// Tell is called as a long task gets on.
type Tell = func(api.Progress)

// tellEvery is how often a task that copies data says how far it is.
const tellEvery = 250 * time.Millisecond

// task is one step of something long, which tells how many bytes it has copied.
type task struct {
	tell  Tell
	step  api.Progress
	bytes atomic.Int64
	end   chan struct{}
	ended chan struct{}
}

// begin tells that a step begins. total is how many bytes it copies, 0 if that is unknown.
func (p *Provider) begin(tell Tell, id, name string, total int64) *task {
	at := p.Now()
	t := &task{tell: tell, step: api.Progress{ID: id, Name: name, Started: &at, Total: total}, end: make(chan struct{}), ended: make(chan struct{})}
	tell(t.step)
	go func() {
		defer close(t.ended)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-t.end:
				return
			case <-tick.C:
				if n := t.bytes.Load(); n != t.step.Current {
					t.step.Current = n
					t.tell(t.step)
				}
			}
		}
	}()
	return t
}

// done tells how the step ended, and returns its error.
func (t *task) done(now time.Time, err error) error {
	close(t.end)
	<-t.ended
	t.step.Current, t.step.Ended = t.bytes.Load(), &now
	if err != nil {
		t.step.Error = err.Error()
	}
	t.tell(t.step)
	return err
}

// count counts what is read from r.
func (t *task) count(r io.Reader) io.Reader { return counted{t, r} }

type counted struct {
	t *task
	r io.Reader
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.t.bytes.Add(int64(n))
	return n, err
}

// sink passes what a command writes on. If that fails, it ends the command: a tool whose output goes nowhere would wait for
// ever.
type sink struct {
	t    *task
	w    io.Writer
	stop context.CancelCauseFunc
}

func (s sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.t.bytes.Add(int64(n))
	if err != nil {
		s.stop(err)
	}
	return n, err
}

// source passes on what a command reads. If that fails, it ends the command before it sees an end of its input: it would
// take what it has got for the whole.
type source struct {
	r    io.Reader
	stop context.CancelCauseFunc
	gone <-chan struct{} // closed when the command has ended
}

func (s source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.stop(err)
		select {
		case <-s.gone:
		case <-time.After(killTimeout): // its shim may have died
		}
	}
	return n, err
}

// killTimeout is how long a command that is killed may take to end.
const killTimeout = 10 * time.Second
