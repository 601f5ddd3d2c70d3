package node

import (
	"net/http"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestClockError(t *testing.T) {
	const off = 48 * time.Hour
	f := func(others []time.Duration, ahead time.Duration, wrong bool) {
		t.Helper()
		if d, is := clockError(others); d != ahead || is != wrong {
			t.Errorf("%v: %s ahead, wrong: %t", others, d, is)
		}
	}
	f(nil, 0, false)
	f([]time.Duration{off}, 0, false) // of two, nobody knows which
	f([]time.Duration{time.Second, -30 * time.Second}, 0, false)
	f([]time.Duration{-off, -off + time.Second}, off, true)
	f([]time.Duration{off, off}, -off, true)
	f([]time.Duration{0, off}, 0, false)               // another one's is wrong
	f([]time.Duration{off, -off}, 0, false)            // all differ
	f([]time.Duration{0, 0, off, off}, 0, false)       // this one is with the majority
	f([]time.Duration{0, off, off, off}, -off, true)   // it is not
	f([]time.Duration{0, off, off, -off}, 0, false)    // there is none
	f([]time.Duration{-off, -off, off}, 0, false)      // two of four are no majority
	f([]time.Duration{-off, -off, -off, 0}, off, true) // one agrees with it
}

func TestClocks(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	var c clocks
	answer := func(node cloud.NodeName, date string) {
		c.note(node, &http.Response{Header: http.Header{"Date": {date}}}, now)
	}
	answer("n2", now.Add(time.Hour).Format(http.TimeFormat))
	answer("n3", "no date")
	answer("n4", now.Format(http.TimeFormat))
	if got := c.of([]cloud.NodeName{"n2", "n3"}); len(got) != 1 || got[0] != time.Hour {
		t.Errorf("%v", got)
	}
	n := &Node{}
	n.clocks.wrong.Store(int64(-48 * time.Hour))
	if ahead := n.now().Sub(time.Now()); ahead < 47*time.Hour || ahead > 49*time.Hour {
		t.Errorf("the time is %s ahead of a clock that is 48h behind", ahead)
	}
}
