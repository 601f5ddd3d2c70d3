package task

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/api"
)

// Tell is called as a task gets on.
type Tell = func(api.Progress)

// tellEvery is how often a step that copies data says how far it is.
const tellEvery = 250 * time.Millisecond

// Step is one step of a task.
type Step struct {
	tell  Tell
	now   func() time.Time
	step  api.Progress
	bytes atomic.Int64
	end   chan struct{}
	ended chan struct{}
}

// Begin tells that a step begins. total is how many bytes it copies, 0 if that is unknown.
func Begin(tell Tell, now func() time.Time, id, name string, total int64) *Step {
	at := now()
	s := &Step{tell: tell, now: now, step: api.Progress{ID: id, Name: name, Started: &at, Total: total}, end: make(chan struct{}), ended: make(chan struct{})}
	tell(s.step)
	go func() {
		defer close(s.ended)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-s.end:
				return
			case <-tick.C:
				if n := s.bytes.Load(); n != s.step.Current {
					s.step.Current = n
					s.tell(s.step)
				}
			}
		}
	}()
	return s
}

// Done tells how the step ended, and returns its error.
func (s *Step) Done(err error) error {
	close(s.end)
	<-s.ended
	at := s.now()
	s.step.Current, s.step.Ended = s.bytes.Load(), &at
	if err != nil {
		s.step.Error = err.Error()
	}
	s.tell(s.step)
	return err
}

// Copied counts n more bytes.
func (s *Step) Copied(n int) { s.bytes.Add(int64(n)) }

// Read returns a reader that counts what is read from r.
func (s *Step) Read(r io.Reader) io.Reader { return counted{s, r} }

type counted struct {
	s *Step
	r io.Reader
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.s.Copied(n)
	return n, err
}

// Write returns a writer that counts what is written to w.
func (s *Step) Write(w io.Writer) io.Writer { return countedWriter{s, w} }

type countedWriter struct {
	s *Step
	w io.Writer
}

func (c countedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.s.Copied(n)
	return n, err
}
