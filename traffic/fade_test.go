package traffic

import (
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func fadeAt(share float64, change func(*cloud.Crossfade)) *cloud.Crossfade {
	app := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	f := &cloud.Crossfade{From: app.Release(6), To: app.Release(7), Started: noon, Since: noon, FadePlan: cloud.DefaultFade(), Percent: share}
	if share > 0 {
		f.Step, f.First = 1, noon
	}
	if change != nil {
		change(f)
	}
	return f
}

func steps(list ...int) func(*cloud.Crossfade) {
	return func(f *cloud.Crossfade) { f.Steps, f.Over = list, cloud.Duration(10*time.Minute) }
}

func and(all ...func(*cloud.Crossfade)) func(*cloud.Crossfade) {
	return func(f *cloud.Crossfade) {
		for _, change := range all {
			change(f)
		}
	}
}

func TestNext(t *testing.T) {
	up, coming, gone := Readiness{Up: true, Back: true}, Readiness{Back: true}, Readiness{Gone: "it does not run", Back: true}
	alone, lost := Readiness{Up: true}, Readiness{Gone: "it does not run"}
	nothing := Judgement{Verdict: NoHarm, MoreErrors: 1, MoreSlow: 1, Missing: 1e6}
	some := Judgement{Verdict: NoHarm, MoreErrors: .02, MoreSlow: .02, Requests: 100, Missing: 1e6}
	good := Judgement{Verdict: NoWorse, MoreErrors: .005, MoreSlow: .01, Requests: 1000}
	bad := Judgement{Verdict: Worse, Findings: []Finding{{Errors, Worse, "9 of 10 failed"}}}
	odd := Judgement{Verdict: Inconclusive, MoreErrors: .02, MoreSlow: .02, Findings: []Finding{{Errors, Inconclusive, "2 of 10 failed"}}}
	soon, doubtful, dear := some, some, odd
	soon.Missing, doubtful.Odds, dear.Odds, dear.Cost = 1000, 1, budgetOdds, cloud.DefaultBudget
	then := func(i cloud.Inconclusive) func(*cloud.Crossfade) {
		return func(f *cloud.Crossfade) { f.OnInconclusive = i }
	}
	noGuards := func(f *cloud.Crossfade) { f.Guards = nil }
	paused := func(f *cloud.Crossfade) { f.Paused = true }
	for _, c := range []struct {
		name  string
		f     *cloud.Crossfade
		r     Readiness
		j     Judgement
		rate  float64
		after time.Duration
		move  Move
		share float64
		why   string
	}{
		{"it waits for the instances", fadeAt(0, nil), coming, nothing, 10, time.Minute, Stay, 0, "not ready yet"},
		{"not for ever", fadeAt(0, nil), coming, nothing, 10, 2 * time.Hour, Abort, 0, "not ready within 30m"},
		{"it counts the host's requests first", fadeAt(0, nil), up, nothing, 0, time.Second, Stay, 0, "counting the host"},
		{"a quiet host begins at a quarter", fadeAt(0, nil), up, nothing, 1, time.Minute, Advance, 25, "ready"},
		{"a busy one with less", fadeAt(0, nil), up, nothing, 100, time.Minute, Advance, 1, "ready"},
		{"a very busy one with a tenth of a percent", fadeAt(0, nil), up, nothing, 5000, time.Minute, Advance, .1, "ready"},
		{"its own steps begin with the first", fadeAt(0, steps(10, 50, 100)), up, nothing, 5000, time.Minute, Advance, 10, "ready"},
		{"a release that ended takes nothing", fadeAt(10, nil), gone, good, 10, time.Minute, Abort, 0, "does not run"},
		{"worse goes back at once", fadeAt(1, nil), up, bad, 10, time.Second, Abort, 0, "errors got worse: 9 of 10"},
		{"worse goes back though it is paused", fadeAt(1, paused), up, bad, 10, time.Second, Abort, 0, "worse"},
		{"worse stays where nobody could take it back", fadeAt(1, nil), alone, bad, 10, time.Second, Hold, 0, "go back to"},
		{"nor does it go back to nothing", fadeAt(10, nil), lost, good, 10, time.Second, Hold, 0, "go back to"},
		{"paused is paused", fadeAt(10, paused), up, good, 10, time.Hour, Stay, 0, "paused"},
		{"a share holds for ten seconds", fadeAt(1, nil), up, good, 100, 5 * time.Second, Stay, 0, "left"},
		{"and rises by what is known", fadeAt(1, nil), up, some, 100, 11 * time.Second, Advance, 10, "at most 20 more failed"},
		{"not by nothing", fadeAt(1, nil), up, nothing, 100, 11 * time.Second, Hold, 0, "not enough traffic"},
		{"not with a sign of harm", fadeAt(1, nil), up, odd, 100, 11 * time.Second, Hold, 0, "some sign of harm"},
		{"nor while an instance is missing", fadeAt(1, nil), coming, some, 100, 11 * time.Second, Hold, 0, "not all instances"},
		{"a quarter waits for the verdict", fadeAt(25, nil), up, some, 10, 6 * time.Minute, Hold, 0, "not enough traffic"},
		{"and for its time", fadeAt(25, nil), up, good, 10, 4 * time.Minute, Stay, 0, "left"},
		{"then comes a half", fadeAt(25, nil), up, good, 10, 5 * time.Minute, Advance, 50, "no worse"},
		{"then the end", fadeAt(50, nil), up, good, 10, time.Minute, Advance, 100, "no worse"},
		{"half of the traffic waits for the verdict too", fadeAt(50, nil), up, some, 10, time.Minute, Hold, 0, "not enough traffic"},
		{"and no longer than it may", fadeAt(50, nil), up, some, 10, 31 * time.Minute, Advance, 100, "at most 20 more"},
		{"no share is larger than it takes to be judged in time", fadeAt(10, nil), up, soon, 100, 11 * time.Second, Stay, 0, "judged in time"},
		{"after twice its time half of the traffic brings the verdict", fadeAt(25, nil), up, some, 10, 11 * time.Minute, Advance, 50, "at most 20 more"},
		{"unless something speaks against it", fadeAt(25, nil), up, doubtful, 10, 11 * time.Minute, Hold, 0, "not enough traffic"},
		{"a release that has cost the budget goes back by less evidence", fadeAt(25, nil), up, dear, 10, time.Minute, Abort, 0, "of the budget of 20 requests"},
		{"it never waits for a proof that the traffic can't give", fadeAt(25, nil), up, some, .1, 31 * time.Minute, Advance, 50, "at most 20 more failed requests of 1,000"},
		{"below a quarter neither, whatever the budget allows", fadeAt(2, nil), up, nothing, 100, 31 * time.Minute, Advance, 20, "no requests to judge by"},
		{"up to a quarter", fadeAt(20, nil), up, nothing, 100, 31 * time.Minute, Advance, 25, "no requests to judge by"},
		{"and says what it had", fadeAt(25, nil), up, nothing, .001, 31 * time.Minute, Advance, 50, "no requests to judge by"},
		{"a sign of harm leads back in the end", fadeAt(25, nil), up, odd, .1, 31 * time.Minute, Abort, 0, "some sign of harm"},
		{"or holds", fadeAt(25, then(cloud.InconclusiveHold)), up, odd, .1, 31 * time.Minute, Hold, 0, "it goes back in 29m0s"},
		{"not for ever", fadeAt(25, then(cloud.InconclusiveHold)), up, odd, .1, 61 * time.Minute, Abort, 0, "some sign of harm"},
		{"or goes", fadeAt(25, then(cloud.InconclusiveGo)), up, odd, .1, 31 * time.Minute, Advance, 50, "--on-inconclusive is go"},
		{"but not to missing instances", fadeAt(25, then(cloud.InconclusiveGo)), coming, odd, .1, 31 * time.Minute, Hold, 0, "not all instances"},
		{"its own steps hold their time", fadeAt(10, steps(10, 50, 100)), up, good, 10, 4 * time.Minute, Stay, 0, "left"},
		{"and no longer", fadeAt(10, steps(10, 50, 100)), up, good, 10, 5 * time.Minute, Advance, 50, "no worse"},
		{"they go on within the budget too", fadeAt(10, steps(10, 20, 100)), up, some, 10, 5 * time.Minute, Advance, 20, "at most 20"},
		{"but the end needs the verdict", fadeAt(10, steps(10, 100)), up, some, 10, 11 * time.Minute, Hold, 0, "not enough traffic"},
		{"without guards time is all", fadeAt(10, and(steps(10, 100), noGuards)), up, nothing, 10, 11 * time.Minute, Advance, 100, "no guards are set"},
		{"and readiness", fadeAt(10, and(steps(10, 100), noGuards)), coming, nothing, 10, 11 * time.Minute, Hold, 0, "not all instances"},
	} {
		d := Next(c.f, c.r, c.j, c.rate, noon.Add(c.after))
		if d.Move != c.move || d.Share != c.share || !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %s to %g: %s; want %s to %g: %s", c.name, d.Move, d.Share, d.Why, c.move, c.share, c.why)
		}
	}
}

// What the budget allows is spent at most by one reaction, were everything as bad as it can be.
func TestBudgetIsKept(t *testing.T) {
	for _, rate := range []float64{.01, 1, 10, 100, 1000, 10_000} {
		for _, possible := range []float64{1, .3, .01, .001} {
			share := affordable(fadeAt(0, nil), rate, possible)
			if lost := rate * share / 100 * possible * reaction.Seconds(); lost > stake*cloud.DefaultBudget+1e-9 && share > leastShare {
				t.Errorf("at %g requests a second and harm of %g a share of %g %% may cost %g requests", rate, possible, share, lost)
			}
		}
	}
}
