package runtimetest

import (
	"errors"
	"fmt"
	"sync"
)

// Fault makes one of many calls fail or crash. The zero Fault has no effect.
type Fault struct {
	// FailAt is the number of the call that returns an error and does nothing, from 1.
	FailAt int
	// CrashAt is the number of the call at which the process crashes; with After, after its work is done.
	CrashAt int
	After   bool
	// Crash ends the process. Later calls have no effect.
	Crash func()

	mu    sync.Mutex
	calls []string
	dead  bool
}

// ErrInjected is the error of a call that Fault makes fail.
var ErrInjected = errors.New("injected failure")

// Do runs the work of a call, unless this call must fail or crash.
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

// FailNext makes the next call return an error.
func (f *Fault) FailNext() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.FailAt = len(f.calls) + 1
}

// Revive starts another process without faults.
func (f *Fault) Revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.FailAt, f.CrashAt = false, 0, 0
}

// Dead reports whether the process has crashed and was not revived.
func (f *Fault) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Calls returns all calls so far: "start shop-r1-web-0-a1".
func (f *Fault) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}
