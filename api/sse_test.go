package api

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

func TestEventsThereAndBack(t *testing.T) {
	w := httptest.NewRecorder()
	e := NewEventWriter(w)
	for i := range 3 {
		if err := e.Send("x", PushEvent{Seq: i + 1, Note: "line\nbreak"}); err != nil {
			t.Fatal(err)
		}
		if err := e.Comment(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Fail(ProblemOf(cloud.Errorf(cloud.Conflict, "superseded by r3"))); err != nil {
		t.Fatal(err)
	}
	n := 0
	var last error
	for ev, err := range ReadEvents[PushEvent](w.Body) {
		if last = err; err == nil {
			if n++; ev.Seq != n || ev.Note != "line\nbreak" {
				t.Errorf("event %d came as %+v", n, ev)
			}
		}
	}
	if n != 3 || cloud.CodeOf(last) != cloud.Conflict {
		t.Errorf("%d events, then %v", n, last)
	}
}

// The forms that the specification allows beyond our own.
func TestReadEventsOfOthers(t *testing.T) {
	in := ": hello\r\nid:7\r\ndata:{\"seq\":\r\ndata: 5}\r\n\r\nretry: 10\n\ndata: {\"seq\":6}\n\ndata: {\"seq\":7}"
	var got []int
	for ev, err := range ReadEvents[PushEvent](strings.NewReader(in)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ev.Seq)
	}
	if len(got) != 2 || got[0] != 5 || got[1] != 6 {
		t.Errorf("got %v; an unfinished event must be dropped", got)
	}
}

func TestReadEventsBounded(t *testing.T) {
	yielded := 0
	for _, err := range ReadEvents[PushEvent](strings.NewReader("data: " + strings.Repeat("x", maxEvent+1))) {
		yielded++
		if cloud.CodeOf(err) != cloud.Unavailable {
			t.Errorf("got %v", err)
		}
	}
	if yielded != 1 {
		t.Errorf("yielded %d times, want one error", yielded)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("data: {}\n\n")
	f.Add("event: error\ndata: {\"code\":\"x\"}\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		for range ReadEvents[PushEvent](strings.NewReader(s)) {
		}
	})
}
