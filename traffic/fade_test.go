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
	up, coming, gone := Standing{Up: true, Back: true}, Standing{Back: true}, Standing{Gone: "it does not run", Back: true}
	alone, lost := Standing{Up: true}, Standing{Gone: "it does not run"}
	onInconclusivePaused := func(f *cloud.Crossfade) {
		f.OnInconclusive, f.Since = cloud.InconclusiveAbort, start.Add(10*time.Hour)
	}
	for _, c := range []struct {
		name  string
		f     *cloud.Crossfade
		s     Standing
		v     Verdict
		after time.Duration
		want  Move
	}{
		{"it waits for the instances", fade(0, nil), coming, Inconclusive, time.Minute, Stay},
		{"and goes when they are ready", fade(0, nil), up, Inconclusive, time.Minute, Advance},
		{"not for ever", fade(0, nil), coming, Inconclusive, 2 * time.Hour, Abort},
		{"a release that ended takes nothing", fade(1, nil), gone, NoWorse, time.Minute, Abort},
		{"a step holds its time", fade(1, nil), up, NoWorse, 4 * time.Minute, Stay},
		{"and no longer", fade(1, nil), up, NoWorse, 5 * time.Minute, Advance},
		{"worse goes back at once", fade(1, nil), up, Worse, time.Second, Abort},
		{"worse goes back though it is paused", fade(1, func(f *cloud.Crossfade) { f.Paused = true }), up, Worse, time.Second, Abort},
		{"paused stays", fade(1, func(f *cloud.Crossfade) { f.Paused = true }), up, NoWorse, time.Hour, Stay},
		{"too little traffic holds", fade(1, nil), up, Inconclusive, 20 * time.Minute, Hold},
		{"for as long as it takes", fade(1, nil), up, Inconclusive, 2 * time.Hour, Hold},
		{"unless it is to go back", fade(1, onInconclusive(cloud.InconclusiveAbort)), up, Inconclusive, 2 * time.Hour, Abort},
		{"not before it has waited at this step", fade(1, onInconclusivePaused), up, Inconclusive, 10*time.Hour + 20*time.Minute, Hold},
		{"or on", fade(2, onInconclusive(cloud.InconclusiveGo)), up, Inconclusive, 2 * time.Hour, Advance},
		{"nothing goes on while an instance is missing", fade(1, nil), coming, NoWorse, 5 * time.Minute, Hold},
		{"whatever it is to do then", fade(2, onInconclusive(cloud.InconclusiveGo)), coming, NoWorse, 2 * time.Hour, Hold},
		{"unless that is to go back", fade(2, onInconclusive(cloud.InconclusiveAbort)), coming, NoWorse, 2 * time.Hour, Abort},
		{"a release that crashes goes back though it is paused", fade(1, func(f *cloud.Crossfade) { f.Paused = true }), gone, NoWorse, time.Second, Abort},
		{"nobody is led to a release that does not run", fade(1, nil), alone, Worse, time.Second, Hold},
		{"not even from one that does not either", fade(1, nil), lost, NoWorse, time.Second, Hold},
		{"at the begin there is nothing to lose", fade(0, nil), lost, Inconclusive, time.Second, Abort},
	} {
		if got := Next(c.f, c.s, c.v, nil, start.Add(c.after)); got.Move != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got.Move, got.Why, c.want)
		}
	}
}
