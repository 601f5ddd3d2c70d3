package access

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// How many log-ins may fail before the next one has to wait. A source that tries one user is slowed down first;
// a user whom many sources try is slowed down last, or anybody could lock anybody out.
const (
	freePerPair   = 5
	freePerSource = 20
	freePerUser   = 100
)

const (
	firstWait   = time.Second
	longestWait = 15 * time.Minute
	// forgetAfter is how long a failure is remembered.
	forgetAfter = time.Hour
	// maxRemembered bounds how many users and sources are remembered.
	maxRemembered = 20_000
)

// throttle slows down who tries passwords.
type throttle struct {
	mu       sync.Mutex
	failures map[string]failures
}

type failures struct {
	count int
	last  time.Time
}

func (t *throttle) keys(user, source string) map[string]int {
	return map[string]int{"pair " + user + "\x00" + source: freePerPair, "source " + source: freePerSource, "user " + user: freePerUser}
}

// check reports, as an error of code Unavailable, that the user or the source must wait.
func (t *throttle) check(user, source string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := time.Duration(0)
	for key, free := range t.keys(user, source) {
		f := t.failures[key]
		// A clock that was put back must not lock anybody out for longer.
		if f.count < free || now.Sub(f.last) > forgetAfter || now.Before(f.last) {
			continue
		}
		pause := longestWait
		if n := f.count - free; n < 20 {
			pause = min(longestWait, firstWait<<n)
		}
		wait = max(wait, pause-now.Sub(f.last))
	}
	if wait <= 0 {
		return nil
	}
	seconds := int(math.Ceil(wait.Seconds()))
	return cloud.Errorf(cloud.Unavailable, "too many log-ins of %s failed", user).WithHint("%s", fmt.Sprintf("try again in %s", time.Duration(seconds)*time.Second))
}

// fail counts a log-in that failed.
func (t *throttle) fail(user, source string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failures) > maxRemembered {
		t.forget(now)
	}
	for key := range t.keys(user, source) {
		f := t.failures[key]
		if now.Sub(f.last) > forgetAfter {
			f.count = 0
		}
		t.failures[key] = failures{f.count + 1, now}
	}
}

// forget drops what is old, and any others where that is not enough. mu is held.
func (t *throttle) forget(now time.Time) {
	for key, f := range t.failures {
		if now.Sub(f.last) > forgetAfter || len(t.failures) > maxRemembered/2 {
			delete(t.failures, key)
		}
	}
}

// succeed forgets what the user had mistyped from a source.
func (t *throttle) succeed(user, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failures, "pair "+user+"\x00"+source)
}
