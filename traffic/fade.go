package traffic

import (
	"fmt"
	"math"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Move is the next action of a cross-fade.
type Move string

// The moves.
const (
	Stay    Move = "stay"    // the step's time is not over
	Hold    Move = "hold"    // the step's time is over, but the evidence is not enough
	Advance Move = "advance" // to the next share, or to the end
	Abort   Move = "abort"   // back to the old release
)

// Decision is a move and why.
type Decision struct {
	Move  Move
	Share float64 // of the new release in percent after Advance; 100 is the end
	Why   string
}

// Next decides the next move of a cross-fade. rate is the host's requests per second.
//
// A cross-fade advances only while every instance of the new release is ready: otherwise the old release would take part
// of the new one's share, and hide its faults. It goes back only if the old release can take the requests.
func Next(f *cloud.Crossfade, r Readiness, j Judgement, rate float64, now time.Time) Decision {
	switch {
	case r.Gone != "":
		return goBack(f, r, r.Gone)
	case j.Verdict == Worse && f.Step > 0:
		return goBack(f, r, worst(j.Findings))
	case f.Step > 0 && j.overBudget(f):
		return goBack(f, r, fmt.Sprintf("about %.0f of the budget of %d requests are spent: %s", j.Cost, f.Budget, worst(j.Findings)))
	case f.Paused:
		return Decision{Move: Stay, Why: "paused"}
	case f.Step == 0:
		return first(f, r, j, rate, now)
	}
	left := f.Dwell() - now.Sub(f.Since)
	share, allowed := nextShare(f, j, rate, now)
	if len(f.Steps) == 0 {
		left = leftOf(f, share, now)
	}
	switch {
	case left > 0:
		return Decision{Move: Stay, Why: fmt.Sprintf("%s of this step are left", left.Round(time.Second))}
	case r.Up && len(f.Guards) == 0:
		return Decision{Advance, share, "no guards are set"}
	case r.Up && allowed && j.Verdict != Inconclusive:
		return Decision{Advance, share, allowedBy(j, share)}
	case r.Up && len(f.Steps) == 0 && !allowed && j.Verdict != Inconclusive && f.Share() < topShare && needed(f, j, rate, now) < topShare:
		return Decision{Move: Stay, Why: fmt.Sprintf("a good release is judged in time at %g %%", f.Share())}
	}
	return wait(f, r, j, share, now)
}

// leftOf returns how long the current share, which micro chose, must still last before the next one.
func leftOf(f *cloud.Crossfade, next float64, now time.Time) time.Duration {
	switch {
	case next == 100:
		return lastDwell - now.Sub(f.Since)
	case next == lastShare:
		return time.Duration(f.Over) - lastDwell - now.Sub(f.Began())
	}
	return leastDwell - now.Sub(f.Since)
}

// first decides when a cross-fade leaves step 0, in which the new release's instances become ready.
func first(f *cloud.Crossfade, r Readiness, j Judgement, rate float64, now time.Time) Decision {
	share, _ := nextShare(f, j, rate, now)
	switch {
	case r.Up && len(f.Steps) == 0 && rate == 0:
		return Decision{Move: Stay, Why: "counting the host's requests first"}
	case r.Up:
		return Decision{Advance, share, "all instances are ready"}
	case now.Sub(f.Started) > time.Duration(f.Max):
		return Decision{Move: Abort, Why: fmt.Sprintf("the instances of %s were not ready within %s", f.To, f.Max)}
	}
	return Decision{Move: Stay, Why: "its instances are not ready yet"}
}

// wait decides what to do if a step's time is over and the evidence does not allow the next step. It holds as long as the
// cross-fade may wait. After that it advances if there is no sign of harm; otherwise --on-inconclusive decides.
func wait(f *cloud.Crossfade, r Readiness, j Judgement, share float64, now time.Time) Decision {
	waited := now.Sub(f.Since) - f.Dwell()
	if len(f.Steps) == 0 {
		waited = now.Sub(f.Began())
	}
	why := "not enough traffic to judge yet"
	switch {
	case !r.Up:
		why = fmt.Sprintf("not all instances of %s are ready", f.To)
	case !r.Back:
		why = fmt.Sprintf("no instance of %s is ready to compare with", f.From)
	case j.Verdict == Inconclusive:
		why = doubt(j.Findings)
	}
	switch {
	case waited <= time.Duration(f.Max):
		return Decision{Move: Hold, Why: why}
	case r.Up && r.Back && (j.Verdict == NoHarm || j.Verdict == NoWorse):
		return Decision{Advance, onward(f, share), j.noHarm()}
	case waited <= 2*time.Duration(f.Max) && (f.OnInconclusive == cloud.InconclusiveHold || f.OnInconclusive == cloud.InconclusiveGo && !r.Up):
		left := (2*time.Duration(f.Max) - waited).Round(time.Second)
		return Decision{Move: Hold, Why: fmt.Sprintf("%s; it goes back in %s", why, left)}
	case f.OnInconclusive == cloud.InconclusiveGo:
		return Decision{Advance, onward(f, share), fmt.Sprintf("%s within %s, and --on-inconclusive is go", why, f.Max)}
	}
	return goBack(f, r, fmt.Sprintf("%s within %s", why, f.Max))
}

// onward returns the share after a wait has ended. It raises the share even if the budget does not allow more, because a
// cross-fade must come to an end.
func onward(f *cloud.Crossfade, share float64) float64 {
	if len(f.Steps) > 0 || f.Share() >= topShare {
		return share
	}
	return max(share, round(min(f.Share()*largestRaise, topShare)))
}

// goBack aborts the cross-fade, unless no instance of the old release could take the requests.
func goBack(f *cloud.Crossfade, r Readiness, why string) Decision {
	if !r.Back && f.Step > 0 {
		return Decision{Move: Hold, Why: fmt.Sprintf("%s, and no instance of %s is ready to go back to", why, f.From)}
	}
	return Decision{Move: Abort, Why: why}
}

// worst returns the evidence of the guard that failed.
func worst(findings []Finding) string {
	for _, f := range findings {
		if f.Verdict == Worse || f.Verdict == Inconclusive {
			return fmt.Sprintf("%s got worse: %s", f.Guard, f.Text)
		}
	}
	return "it got worse"
}

// doubt describes why the findings are inconclusive.
func doubt(findings []Finding) string {
	for _, f := range findings {
		if f.Guard == Shares && f.Verdict == Inconclusive {
			return f.Text
		}
	}
	return "there is some sign of harm: " + worst(findings)
}

// allowedBy returns the evidence that allowed a step.
func allowedBy(j Judgement, share float64) string {
	if j.Verdict == NoWorse || share == 100 {
		return string(NoWorse)
	}
	return j.noHarm()
}

// noHarm describes how much is known if there is no sign of harm.
func (j Judgement) noHarm() string {
	switch {
	case j.Requests == 0:
		return "no requests to judge by: all that is known is that its instances stayed healthy"
	case j.MoreErrors >= 1:
		return fmt.Sprintf("no sign of harm in %d requests, too few to say more; its instances stayed healthy", j.Requests)
	}
	return fmt.Sprintf("no sign of harm, and at most %s more failed requests of 1,000 possible", perThousand(j.MoreErrors))
}

// overBudget reports whether a release goes back because of its cost: the closer the cost comes to the budget, the less
// evidence of harm is needed.
func (j Judgement) overBudget(f *cloud.Crossfade) bool {
	if len(f.Guards) == 0 || f.Budget <= 0 {
		return false
	}
	spent := j.Cost / float64(f.Budget)
	// From nearBudget on, the odds needed fall from those of a verdict to budgetOdds.
	part := min((spent-nearBudget)/(1-nearBudget), 1)
	return part > 0 && j.Odds >= math.Pow(budgetOdds*DefaultAlpha, part)/DefaultAlpha
}
