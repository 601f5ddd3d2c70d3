package images

import (
	"sync"
	"time"

	"github.com/protoduction/micro/runtime"
)

// reportEvery keeps progress to what an eye can follow.
const reportEvery = 100 * time.Millisecond

// reporter passes progress on, one report at a time.
type reporter struct {
	mu   sync.Mutex
	send func(runtime.Progress)
}

func newReporter(send func(runtime.Progress)) *reporter {
	if send == nil {
		send = func(runtime.Progress) {}
	}
	return &reporter{send: send}
}

// stepReporter is one line of progress.
type stepReporter struct {
	r    *reporter
	p    runtime.Progress
	last time.Time
}

func (r *reporter) step(id, name string, total int64) *stepReporter {
	now := time.Now()
	s := &stepReporter{r: r, p: runtime.Progress{ID: id, Name: name, Started: &now, Total: total}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(s.p)
	return s
}

func (s *stepReporter) total(n int64) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.p.Total = n
}

// add counts bytes done.
func (s *stepReporter) add(n int64) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.p.Current += n
	if now := time.Now(); now.Sub(s.last) >= reportEvery {
		s.last = now
		s.r.send(s.p)
	}
}

// back takes bytes off again, where a transfer starts over.
func (s *stepReporter) back() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.p.Current = 0
}

func (s *stepReporter) end(err error) {
	now := time.Now()
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.p.Ended = &now
	if err != nil {
		s.p.Error = err.Error()
	}
	s.r.send(s.p)
}
