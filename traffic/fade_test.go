package traffic

import (
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestNext(t *testing.T) {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	app := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	fade := func(step int, change func(*cloud.Crossfade)) *cloud.Crossfade {
		f := &cloud.Crossfade{From: app.Release(6), To: app.Release(7), Steps: []int{10, 50, 100}, Step: step, Started: start, Since: start}
		f.FadePlan = cloud.FadePlan{Over: cloud.Duration(10 * time.Minute), Max: cloud.Duration(time.Hour), OnInconclusive: cloud.InconclusiveHold}
		if change != nil {
			change(f)
		}
		return f
	}
	onInconclusive := func(i cloud.Inconclusive) func(*cloud.Crossfade) {
		return func(f *cloud.Crossfade) { f.OnInconclusive = i }
	}
	for _, c := range []struct {
		name      string
		f         *cloud.Crossfade
		up, alive bool
		v         Verdict
		after     time.Duration
		want      Move
	}{
		{"it waits for the instances", fade(0, nil), false, true, Inconclusive, time.Minute, Stay},
		{"and goes when they are ready", fade(0, nil), true, true, Inconclusive, time.Minute, Advance},
		{"not for ever", fade(0, nil), false, true, Inconclusive, 2 * time.Hour, Abort},
		{"a release that ended takes nothing", fade(1, nil), true, false, NoWorse, time.Minute, Abort},
		{"a step holds its time", fade(1, nil), true, true, NoWorse, 4 * time.Minute, Stay},
		{"and no longer", fade(1, nil), true, true, NoWorse, 5 * time.Minute, Advance},
		{"worse goes back at once", fade(1, nil), true, true, Worse, time.Second, Abort},
		{"worse goes back though it is paused", fade(1, func(f *cloud.Crossfade) { f.Paused = true }), true, true, Worse, time.Second, Abort},
		{"paused stays", fade(1, func(f *cloud.Crossfade) { f.Paused = true }), true, true, NoWorse, time.Hour, Stay},
		{"too little traffic holds", fade(1, nil), true, true, Inconclusive, 20 * time.Minute, Hold},
		{"for as long as it takes", fade(1, nil), true, true, Inconclusive, 2 * time.Hour, Hold},
		{"unless it is to go back", fade(1, onInconclusive(cloud.InconclusiveAbort)), true, true, Inconclusive, 2 * time.Hour, Abort},
		{"or on", fade(2, onInconclusive(cloud.InconclusiveGo)), true, true, Inconclusive, 2 * time.Hour, Advance},
	} {
		if got := Next(c.f, c.up, c.alive, c.v, nil, start.Add(c.after)); got.Move != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got.Move, got.Why, c.want)
		}
	}
}
