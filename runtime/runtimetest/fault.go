package runtimetest

import (
	"errors"
	"fmt"
	"sync"
)

// Fault makes one call of many go wrong. The zero Fault makes none.
type Fault struct {
	// FailAt is the number of the call that returns an error and does nothing, from 1.
	FailAt int
	// CrashAt is the number of the call at which the process ends; After says after it has done its work.
	CrashAt int
	After   bool
	// Crash ends the process: what calls from then on gets nowhere.
	Crash func()

	mu    sync.Mutex
	calls []string
	dead  bool
}

// ErrInjected is what a call that fails returns.
var ErrInjected = errors.New("injected failure")

// Do runs a call's work, unless it is the one that goes wrong.
func (f *Fault) Do(call string, work func() error) error {
	f.mu.Lock()
	if f.dead {
		f.mu.Unlock()
		return fmt.Errorf("%s: the process has ended", call)
	}
	f.calls = append(f.calls, call)
	k := len(f.calls)
	crash, fail := k == f.CrashAt, k == f.FailAt
	f.dead = crash
	f.mu.Unlock()
	if crash && !f.After {
		f.Crash()
		return fmt.Errorf("%s: the process has ended", call)
	}
	if fail {
		return fmt.Errorf("%s: %w", call, ErrInjected)
	}
	err := work()
	if crash {
		f.Crash()
	}
	return err
}

// FailNext makes the next call return an error, whatever is under way.
func (f *Fault) FailNext() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.FailAt = len(f.calls) + 1
}

// Revive begins the life of another process, in which nothing more goes wrong.
func (f *Fault) Revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.FailAt, f.CrashAt = false, 0, 0
}

// Dead says that the process has crashed and was not revived.
func (f *Fault) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Calls are all calls so far: "start shop-r1-web-0-a1".
func (f *Fault) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}
