package h2

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestAwaitSent: an answer that is quicker than the end of sending does not cost the connection to the core, and a core
// that does not read the rest of a body does.
func TestAwaitSent(t *testing.T) {
	failed := errors.New("it failed")
	for _, c := range []struct {
		name     string
		length   int64
		after    time.Duration // until the sender says how it ended; below 0 never
		sendErr  error
		answered bool
		ended    bool
	}{
		{"head, at once", 0, 0, nil, true, true},
		{"head, late", 0, time.Second, nil, true, true},
		{"head, failed", 0, time.Second, failed, true, true},
		{"body, a moment later", 100, time.Millisecond, nil, true, true},
		{"body, failed a moment later", -1, time.Millisecond, failed, true, true},
		{"body that is not read", 100, -1, nil, true, false},
		{"no whole answer", 0, time.Second, nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := make(chan error, 1)
				if c.after == 0 {
					sent <- c.sendErr
				} else if c.after > 0 {
					go func() { time.Sleep(c.after); sent <- c.sendErr }()
				}
				began := time.Now()
				err, ended := awaitSent(&http.Request{ContentLength: c.length}, sent, c.answered)
				if ended != c.ended || ended && err != c.sendErr {
					t.Errorf("ended %v, %v", ended, err)
				}
				if took := time.Since(began); !c.ended && took > sendEnds {
					t.Errorf("waited %v", took)
				}
				time.Sleep(2 * time.Second) // of the bubble's time: the sender ends
			})
		})
	}
}
