package events

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var (
	shop = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// history is a cloud that compares each change with the view before it.
type history struct {
	*testing.T
	view cloud.View
	now  time.Time
}

func (h *history) ann() cloud.Stamp { return cloud.Stamp{At: h.now, By: "ann"} }

// do changes the state and returns the events, one per line.
func (h *history) do(changes []cloud.Change, err error) string {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	old := h.view
	h.view.State = old.State.Apply(old.State.Rev()+1, changes)
	h.now = h.now.Add(time.Minute)
	var lines []string
	for _, e := range compare(old, h.view, h.now) {
		lines = append(lines, fmt.Sprintf("%s app=%s r%d %s by=%s %s", e.Kind, e.App, e.Release, e.Object, e.By, e.Text))
	}
	return strings.Join(lines, "\n")
}

func newHistory(t *testing.T) *history {
	h := &history{T: t, view: cloud.NewView(), now: noon}
	h.do(h.view.State.Init(h.ann()), nil)
	for n := 1; n <= 2; n++ {
		changes, _, err := h.view.State.Push(cloud.Push{App: shop, Stage: n == 2, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1", Name: "one"}},
			Spec: cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {}}}}, h.ann())
		h.do(changes, err)
	}
	h.do(h.view.State.FinishRollout(shop, h.now, h.ann()), nil)
	h.do(h.view.State.MarkUp(shop.Release(2)), nil)
	return h
}

// TestEventsBesideWhatTouchesAll checks that a step which changes a group or the settings has the events of all else
// that it changes.
func TestEventsBesideWhatTouchesAll(t *testing.T) {
	for name, other := range map[string]func(*cloud.State) ([]cloud.Change, error){
		"settings": func(s *cloud.State) ([]cloud.Change, error) { return s.Configure(cloud.Settings{Domain: "other.test"}) },
		"group": func(s *cloud.State) ([]cloud.Change, error) {
			return s.CreateGroup("second", cloud.Stamp{At: noon, By: "ann"})
		},
	} {
		h := newHistory(t)
		touching, err := other(h.view.State)
		if err != nil || len(touching) == 0 {
			t.Fatal(touching, err)
		}
		changes, _, err := h.view.State.Push(cloud.Push{App: cloud.AppRef{Group: cloud.DefaultGroup, App: "news"}, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1", Name: "one"}},
			Spec: cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {}}}}, h.ann())
		if err != nil {
			t.Fatal(err)
		}
		routes, err := h.view.State.Map(cloud.Map{Host: "www.example.com", Path: "/", Target: cloud.Target{ReleaseRef: shop.Release(0)}}, h.ann())
		if err != nil {
			t.Fatal(err)
		}
		got := h.do(append(append(touching, changes...), routes...), nil)
		for _, want := range []string{"app.created app=news", "release.created app=news", "www.example.com"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not among the events:\n%s", name, want, got)
			}
		}
		if strings.Contains(got, "app=shop r1") || strings.Contains(got, "app=shop r2") {
			t.Errorf("%s: releases that did not change have events:\n%s", name, got)
		}
		if silent := h.do(renameDomain(h.view.State)); silent != "" {
			t.Errorf("%s: nothing else changed, and there are events:\n%s", name, silent)
		}
	}
}

func renameDomain(s *cloud.State) ([]cloud.Change, error) {
	return s.Configure(cloud.Settings{Domain: "third.test"})
}

// TestEventsOfHosts checks the event of each kind of change of a route, with its author and reason.
func TestEventsOfHosts(t *testing.T) {
	h := newHistory(t)
	s := func() *cloud.State { return h.view.State }
	fade := func() *cloud.Crossfade {
		host, _ := s().VirtualHost("www.example.com")
		route, _ := host.Route("/")
		return route.Crossfade
	}
	start := func() ([]cloud.Change, error) {
		return s().BeginCrossfade("www.example.com", "/", shop.Release(2), []int{20, 50, 100}, cloud.FadePlan{
			Over: cloud.Duration(10 * time.Minute), Max: cloud.Duration(time.Hour), OnInconclusive: cloud.InconclusiveHold,
		}, false, h.ann())
	}
	micro := func(why string) cloud.Stamp { return cloud.Stamp{At: h.now, By: "micro", Why: why} }
	for _, c := range []struct {
		do   func() ([]cloud.Change, error)
		want string
	}{
		{func() ([]cloud.Change, error) {
			return s().Map(cloud.Map{Host: "www.example.com", Path: "/", Target: cloud.Target{ReleaseRef: shop.Release(0)}}, h.ann())
		}, "host.mapped app=shop r0 www.example.com by= www.example.com is internal, routes to shop"},
		{func() ([]cloud.Change, error) {
			return s().Map(cloud.Map{Host: "www.example.com", Path: "/", Public: true, Target: cloud.Target{ReleaseRef: shop.Release(0)}}, h.ann())
		}, "host.changed app=shop r0 www.example.com by= www.example.com is public"},
		{func() ([]cloud.Change, error) {
			return s().Traffic("www.example.com", "/", map[cloud.ReleaseRef]int{shop.Release(1): 90, shop.Release(2): 10})
		}, "host.changed app=shop r0 www.example.com/ by= www.example.com/ routes to shop@r1 (90) and shop@r2 (10)"},
		{func() ([]cloud.Change, error) {
			return s().Traffic("www.example.com", "/", map[cloud.ReleaseRef]int{shop.Release(1): 1})
		}, "host.changed app=shop r0 www.example.com/ by= www.example.com/ routes to shop@r1 (1)"},
		{start, "crossfade.started app=shop r2 www.example.com/ by=ann cross-fade of www.example.com/ from shop@r1 to shop@r2 has begun, in steps of 20, 50, 100 % over 10m0s"},
		{func() ([]cloud.Change, error) {
			return s().StepCrossfade("www.example.com", "/", fade(), 20, h.now, nil, micro("all instances are ready")), nil
		}, "crossfade.step app=shop r2 www.example.com/ by=micro cross-fade of www.example.com/ gives shop@r2 20 %: all instances are ready"},
		{func() ([]cloud.Change, error) { return s().PauseCrossfade("www.example.com", "/", true, h.ann()) },
			"crossfade.paused app=shop r2 www.example.com/ by=ann cross-fade of www.example.com/ is paused, shop@r2 has 20 %"},
		{func() ([]cloud.Change, error) { return s().PauseCrossfade("www.example.com", "/", false, h.ann()) },
			"crossfade.resumed app=shop r2 www.example.com/ by=ann cross-fade of www.example.com/ goes on, shop@r2 has 20 %"},
		{func() ([]cloud.Change, error) {
			return s().AbortCrossfade("www.example.com", "/", "worse at errors", nil, micro(""))
		}, "crossfade.aborted app=shop r2 www.example.com/ by=micro www.example.com/ is rolled back to shop@r1, shop@r2 had 20 %: worse at errors"},
		{start, "crossfade.started app=shop r2 www.example.com/ by=ann cross-fade of www.example.com/ from shop@r1 to shop@r2 has begun, in steps of 20, 50, 100 % over 10m0s"},
		{func() ([]cloud.Change, error) {
			return s().AbortCrossfade("www.example.com", "/", "ended by ann", nil, h.ann())
		}, "crossfade.aborted app=shop r2 www.example.com/ by=ann www.example.com/ is rolled back to shop@r1, shop@r2 had 0 %: ended by ann"},
		{func() ([]cloud.Change, error) { return s().Unmap("www.example.com", "/", shop.Release(1), true) },
			"host.changed app=shop r0 www.example.com/ by= www.example.com/ routes to nothing"},
		{func() ([]cloud.Change, error) { return s().ReleaseHost("www.example.com", true) },
			"host.released app= r0 www.example.com by= www.example.com is given up"},
	} {
		if got := h.do(c.do()); got != c.want {
			t.Errorf("\n%s\nwant\n%s", got, c.want)
		}
	}
}

// TestEventsOfAFadesEnd checks that the end of a cross-fade makes two events: the release becomes current, and the
// route moves.
func TestEventsOfAFadesEnd(t *testing.T) {
	h := newHistory(t)
	h.do(h.view.State.Map(cloud.Map{Host: "www.example.com", Path: "/", Target: cloud.Target{ReleaseRef: shop.Release(0)}}, h.ann()))
	h.do(h.view.State.BeginCrossfade("www.example.com", "/", shop.Release(2), []int{100}, cloud.FadePlan{Max: cloud.Duration(time.Hour), OnInconclusive: cloud.InconclusiveHold}, false, h.ann()))
	host, _ := h.view.State.VirtualHost("www.example.com")
	route, _ := host.Route("/")
	got := h.do(h.view.State.StepCrossfade("www.example.com", "/", route.Crossfade, 100, h.now, nil, cloud.Stamp{At: h.now, By: "micro", Why: "all instances are ready"}), nil)
	for _, want := range []string{
		"release.current app=shop r2 shop@r2 by= shop@r2 is current",
		"crossfade.finished app=shop r2 www.example.com/ by=micro www.example.com/ has moved from shop@r1 to shop@r2: all instances are ready",
	} {
		if !slices.Contains(strings.Split(got, "\n"), want) {
			t.Errorf("no event %s in\n%s", want, got)
		}
	}
}

// TestBuffer checks the buffer's limit, and that reading from a cursor continues at the same event.
func TestBuffer(t *testing.T) {
	l := New(noon)
	for n := range limit + 10 {
		l.Add(api.Event{Time: noon, App: "shop", Release: n})
	}
	read := func(l *Buffer, q api.EventQuery) (list []api.Event) {
		for e, err := range l.Read(context.Background(), q) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		return list
	}
	all := read(l, api.EventQuery{Tail: -1})
	if len(all) != limit || all[0].Release != 10 || all[limit-1].Release != limit+9 {
		t.Fatalf("%d events, from %d on", len(all), all[0].Release)
	}
	if next := read(l, api.EventQuery{Tail: -1, After: all[limit-3].Cursor}); len(next) != 2 || next[0].Release != limit+8 {
		t.Errorf("after a cursor come %v", next)
	}
	if last := read(l, api.EventQuery{Tail: 1, App: "shop"}); len(last) != 1 || last[0].Release != limit+9 {
		t.Errorf("the last one is %v", last)
	}
	if none := read(l, api.EventQuery{Tail: -1, App: "other"}); len(none) > 0 {
		t.Errorf("another app has %d events", len(none))
	}
	if again := read(New(noon.Add(time.Second)), api.EventQuery{Tail: -1, After: all[0].Cursor}); len(again) > 0 {
		t.Errorf("the next process has %v", again)
	}
}
