package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/api"
)

// A build as it comes from the node: names before starts, output in pieces, an app's escape sequences.
func TestPlainProgress(t *testing.T) {
	var out bytes.Buffer
	c := &command{System: System{Stderr: &out, Env: func(string) (string, bool) { return "", false }}}
	p := &progress{c: c, steps: map[string]*step{}}
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	after := at.Add(1500 * time.Millisecond)
	for _, e := range []api.PushEvent{
		{Progress: &api.Progress{ID: "a", Name: "[1/2] FROM base"}},
		{Progress: &api.Progress{ID: "a", Started: &at, Ended: &at, Cached: true}},
		{Progress: &api.Progress{ID: "b", Name: "[2/2] RUN make", Started: &at}},
		{Progress: &api.Progress{ID: "b", Started: &at, Log: []byte("one\ntw")}},
		{Progress: &api.Progress{ID: "b", Started: &at, Log: []byte("o\r\n\x1b[31mred\n")}},
		{Progress: &api.Progress{ID: "b", Started: &at, Log: []byte("10 %\r50 %\r100 %\r\n")}},
		{Progress: &api.Progress{ID: "b", Started: &at, Ended: &after}},
		{Note: "waits for other builds to end"},
		{Release: 3},
		{Rollout: &api.Rollout{Phase: "starting", Instances: 2}},
		{Rollout: &api.Rollout{Phase: "starting", Instances: 2}},
		{Rollout: &api.Rollout{Phase: "current", Ready: 2, Instances: 2}},
	} {
		p.event(e)
	}
	want := `#1 [1/2] FROM base
#1 CACHED
#2 [2/2] RUN make
#2 one
#2 two
#2 \x1b[31mred
#2 100 %
#2 DONE 1.5s
waits for other builds to end
release r3
starting: 0 of 2 ready
current: 2 of 2 ready
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

// A step that prints nothing for long is said to run still.
func TestSilentStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := &command{System: System{Stderr: &out, Env: func(string) (string, bool) { return "", false }}}
		p := &progress{c: c, done: make(chan struct{}), steps: map[string]*step{}}
		go p.tick()
		begun, ended := time.Now(), time.Now().Add(100*time.Second)
		p.event(api.PushEvent{Progress: &api.Progress{ID: "a", Name: "RUN make", Started: &begun}})
		time.Sleep(45 * time.Second)
		p.event(api.PushEvent{Progress: &api.Progress{ID: "a", Name: "RUN make", Started: &begun, Log: []byte("half\n")}})
		time.Sleep(55 * time.Second)
		p.event(api.PushEvent{Progress: &api.Progress{ID: "a", Name: "RUN make", Started: &begun, Ended: &ended}})
		time.Sleep(time.Minute)
		p.stop()
		want := "#1 RUN make\n#1 … runs for 30s\n#1 half\n#1 … runs for 1m15s\n#1 DONE 100.0s\n"
		if out.String() != want {
			t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
		}
	})
}

// With --json nothing but JSON is printed.
func TestQuietProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{c: &command{System: System{Stderr: &out}}, steps: map[string]*step{}, quiet: true}
	p.event(api.PushEvent{Release: 1})
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}

// Lines of a drawing are as wide as the terminal and no wider, whatever a step is called.
func TestDrawnLines(t *testing.T) {
	at := time.Now()
	for _, name := range []string{"short", strings.Repeat("long ", 50), "tab\tand\x1b[2Jescape", "ünïcödé"} {
		for _, s := range []*step{
			{Progress: api.Progress{Name: name}},
			{Progress: api.Progress{Name: name, Cached: true}},
			{Progress: api.Progress{Name: name, Error: "no"}},
			{Progress: api.Progress{Name: name, Started: &at, Current: 5 << 20, Total: 70 << 20}},
		} {
			for _, width := range []int{40, 80} {
				line := s.line(width)
				if n := len([]rune(line)); n > width || strings.ContainsAny(line, "\x1b\t\n") {
					t.Errorf("%q is %d wide, want at most %d", line, n, width)
				}
			}
		}
	}
}

// No line that is drawn is wider than the terminal, whatever is in it.
func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 10, "short"},
		{"exactly it", 10, "exactly it"},
		{"one too long", 11, "one too lo…"},
		{"a\tb", 3, "a b"},
		{"漢字漢字", 8, "漢字漢字"},
		{"漢字漢字", 7, "漢字漢…"},
		{"漢字漢字", 6, "漢字…"},
		{"🚀 up", 5, "🚀 up"},
		{"e\u0301te\u0301", 3, "e\u0301te\u0301"},
		{"e\u0301te\u0301s", 3, "e\u0301t…"},
	} {
		got := cut(tt.in, tt.limit)
		if got != tt.want || columns(got) > tt.limit {
			t.Errorf("%q in %d columns: %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
	at := time.Now()
	s := step{Progress: api.Progress{Name: strings.Repeat("漢", 50), Started: &at, Ended: &at}}
	if n := columns(s.line(60)); n >= 60 {
		t.Errorf("a step's line takes %d columns of 60", n)
	}
}
