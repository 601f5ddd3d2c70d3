package deploy

import (
	"strings"
	"testing"

	"github.com/protoduction/micro/api"
)

func TestEventBufferDropsTheOldest(t *testing.T) {
	b := newEventBuffer()
	line := strings.Repeat("x", 10<<10)
	for range 500 {
		b.add(api.PushEvent{Note: line})
	}
	events, ended, _ := b.since(1)
	if ended || len(events) == 500 || events[len(events)-1].Seq != 500 || b.size > maxEvents {
		t.Errorf("%d events, %d bytes", len(events), b.size)
	}
	b.finish(api.PushEvent{Outcome: &api.Outcome{}})
	events, ended, _ = b.since(490)
	if !ended || len(events) == 0 || events[len(events)-1].Outcome == nil || b.size > maxEndedEvents {
		t.Errorf("%d events, %d bytes", len(events), b.size)
	}
	b.add(api.PushEvent{Note: "late"})
	if b.count() != 501 {
		t.Error("an event came after the last one")
	}
}
