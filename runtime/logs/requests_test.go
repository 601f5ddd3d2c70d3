package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged adds lines of an instance and of requests, each "o" or "r" a second after the one before.
func logged(t *testing.T, l *Logs, kinds string, first int) {
	t.Helper()
	l.mu.Lock()
	j, err := l.journal(logKey{AppRef: shop})
	l.mu.Unlock()
	if err != nil {
		t.Error(err)
		return
	}
	for i, kind := range kinds {
		n := first + i
		at := time.Unix(int64(n), 0)
		if kind == 'r' {
			l.Append(shop, Line{Time: at, Stream: Router}, said(fmt.Sprintf("r%d", n)))
		} else if err := j.append([]Line{{Time: at, Stream: App, Text: fmt.Sprintf("o%d", n)}}); err != nil {
			t.Error(err)
		}
	}
	l.flush()
}

// TestRequestsFloodTheirOwnLog: whoever sends requests, however long their lines, erases nothing that the app said.
func TestRequestsFloodTheirOwnLog(t *testing.T) {
	const limit = 64 << 10
	l := open(t, t.TempDir(), limit)
	logged(t, l, "ooo", 1)
	for range 200 {
		l.Append(shop, Line{Time: time.Now(), Stream: Router}, said(strings.Repeat("x", 2000)))
		l.flush()
	}
	got := texts(t, l, Query{App: shop, Tail: -1})
	if !slices.Equal(got[:3], []string{"o1", "o2", "o3"}) {
		t.Errorf("%d lines are left, the first %.20q", len(got), got[0])
	}
	if n := (len(got) - 3) * 2000; n > limit/2 || n < limit/16 {
		t.Errorf("%d bytes of requests are kept", n)
	}
}

// TestMergedLogs: the two logs are read as one, by their times, also from any line on.
func TestMergedLogs(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, 0)
	logged(t, l, "ororroorro", 1)
	all := []string{"o1", "r2", "o3", "r4", "r5", "o6", "o7", "r8", "r9", "o10"}
	if got := texts(t, l, Query{App: shop, Tail: -1}); !slices.Equal(got, all) {
		t.Errorf("all: %v", got)
	}
	own := func(line Line) bool { return line.Stream == App }
	for n := range len(all) + 2 {
		want := all[max(0, len(all)-n):]
		if got := texts(t, l, Query{App: shop, Tail: n}); !slices.Equal(got, want) {
			t.Errorf("the last %d: %v", n, got)
		}
		// Every line's cursor leads to the next one, wherever reading began.
		i := len(all) - len(want)
		for line := range l.Read(t.Context(), Query{App: shop, Tail: n}) {
			i++
			if got := texts(t, l, Query{App: shop, Tail: -1, After: line.Cursor}); !slices.Equal(got, all[i:]) {
				t.Errorf("the last %d, after %s at %s: %v", n, line.Text, line.Cursor, got)
			}
		}
	}
	if got := texts(t, l, Query{App: shop, Tail: 2, Match: own}); !slices.Equal(got, []string{"o7", "o10"}) {
		t.Errorf("the last two of the app: %v", got)
	}
	if got := texts(t, l, Query{App: shop, Tail: -1, NoRequests: true}); !slices.Equal(got, []string{"o1", "o3", "o6", "o7", "o10"}) {
		t.Errorf("without requests: %v", got)
	}
	// A cursor of a time when there was one log.
	if got := texts(t, l, Query{App: shop, Tail: -1, After: "1:0"}); len(got) != 5 {
		t.Errorf("after an old cursor: %v", got)
	}
	l.close()
	l = open(t, dir, 0)
	if got := texts(t, l, Query{App: shop, Tail: -1}); !slices.Equal(got, all) {
		t.Errorf("opened again: %v", got)
	}
	l.close()
}

// TestFollowedLogs: lines of both logs follow, and a reader that comes back misses and doubles none.
func TestFollowedLogs(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	logged(t, l, "or", 1)
	after, seen := "", []string{}
	for line, err := range l.Read(t.Context(), Query{App: shop, Tail: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		after = line.Cursor // a reader that began with the end could come after the writer
	}
	for round := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		var writing sync.WaitGroup
		writing.Go(func() { logged(t, l, "ro", 10+2*round) })
		for line, err := range l.Read(ctx, Query{App: shop, Tail: -1, After: after, Follow: true}) {
			if err != nil {
				t.Fatal(err)
			}
			after = line.Cursor
			seen = append(seen, line.Text)
			if n++; n == 2 {
				break
			}
		}
		cancel()
		writing.Wait()
	}
	slices.Sort(seen)
	if want := []string{"o11", "o13", "o15", "o17", "r10", "r12", "r14", "r16"}; !slices.Equal(seen, want) {
		t.Errorf("%v", seen)
	}
	l.close()
}
