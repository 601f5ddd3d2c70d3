package services

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/protoduction/micro/task"
)

// Tell is called as a long task gets on.
type Tell = task.Tell

// sink passes what a command writes on. If that fails, it ends the command: a tool whose output goes nowhere would wait for
// ever.
type sink struct {
	t    *task.Step
	w    io.Writer
	stop context.CancelCauseFunc
}

func (s sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.t.Copied(n)
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
