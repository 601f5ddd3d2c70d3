package handler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// timelineState is a cloud in which an app was pushed twice, noted, cross-faded and led back, one minute after another.
func timelineState(t *testing.T) (s *cloud.State, clock func() cloud.Stamp) {
	t.Helper()
	now := noon
	clock = func() cloud.Stamp { now = now.Add(time.Minute); return cloud.Stamp{At: now, By: "anna"} }
	s = cloud.NewState()
	s = s.Apply(1, s.Init(clock()))
	do := func(changes []cloud.Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
	}
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	push := func(stage bool) {
		changes, _, err := s.Push(cloud.Push{App: shop, Stage: stage, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1", Name: "one"}},
			Spec: cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {}}}}, clock())
		do(changes, err)
	}
	push(false)
	do(s.FinishRollout(shop, now, clock()), nil)
	do(s.Map(cloud.Map{Host: "www.example.com", Path: "/", Target: cloud.Target{ReleaseRef: shop.Release(0)}}, clock()))
	push(true)
	do(s.MarkUp(shop.Release(2)), nil)
	do(s.AddNote(shop.Release(2), cloud.Note{At: clock().At, By: "tess", Text: "the basket loses items"}))
	do(s.AddNote(shop.Release(2), cloud.Note{At: clock().At, By: "tess", Approved: true}))
	do(s.BeginCrossfade("www.example.com", "/", shop.Release(2), []int{20, 100}, cloud.FadePlan{
		Over: cloud.Duration(10 * time.Minute), Max: cloud.Duration(time.Hour), OnInconclusive: cloud.InconclusiveHold,
	}, false, clock()))
	micro := clock()
	micro.By = "micro"
	do(s.AbortCrossfade("www.example.com", "/", "errors got worse", &cloud.FadeFigures{Verdict: "worse"}, micro))
	do(s.LockApp(shop, "freeze until Monday", clock()))
	return s, clock
}

// TestTimeline checks that each source has its entries, once and in order, and that lines about another app, of an
// older app of the same name and of refused requests have none.
func TestTimeline(t *testing.T) {
	s, clock := timelineState(t)
	app, _ := s.App(cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"})
	tl := newTimeline(s, app)
	lock, _ := s.Lock(app.AppRef)
	line := func(at time.Time, verb, object string) {
		tl.addLine(api.AuditLine{Time: at, By: "rita", Verb: verb, Object: object, Result: "done"})
	}
	line(noon, "rollback", "shop@r1") // before the app was made
	line(lock.At.Add(20*time.Millisecond), "lock", "shop: freeze until Monday")
	line(clock().At, "unlock", "shop")
	line(clock().At, "lock", "shop: until noon: no joke")
	line(clock().At, "rollback", "shop@r1")
	line(clock().At, "settled", "shop@r1")
	line(clock().At, "map", "www.example.com")
	line(clock().At, "map", "other.example.com")
	line(clock().At, "swap", "www.example.com blue.example.com")
	line(clock().At, "stop", "team/shop")
	line(clock().At, "exec", "shop/web.0@r1 -- ls")
	tl.addLine(api.AuditLine{Time: clock().At, By: "rita", Verb: "promote", Object: "shop@r2", Result: "refused"})
	var got []string
	for _, e := range tl.since(time.Time{}) {
		got = append(got, strings.Join(strings.Fields(fmt.Sprintf("%s r%d %s%s %s %s %s", e.Kind, e.Release, e.Host, e.Path, e.By, e.Verdict, e.Text)), " "))
	}
	want := []string{
		"push r1 anna one", "push r2 anna one", "rejected r2 tess the basket loses items", "approved r2 tess",
		"crossfade-started r2 www.example.com/ anna from shop@r1", "crossfade-aborted r2 www.example.com/ micro worse errors got worse",
		"locked r0 anna freeze until Monday", "unlocked r0 rita", "locked r0 rita until noon: no joke", "rollback r1 rita", "current r1 rita",
		"map r0 www.example.com/ rita", "swap r0 www.example.com rita with blue.example.com",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if late := tl.since(lock.At); len(late) != 7 || late[0].Kind != "locked" {
		t.Errorf("since the lock: %+v", late)
	}
}
