package traffic

import (
	"fmt"
	"math"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Move is what is to be done with a cross-fade now.
type Move string

// The moves.
const (
	Stay    Move = "stay"    // the time at this step is not over
	Hold    Move = "hold"    // it is, and there is not enough to judge by
	Advance Move = "advance" // to the next share, or to the end
	Abort   Move = "abort"   // back to where the route led before
)

// Decision is a move and why.
type Decision struct {
	Move  Move
	Share float64 // of the new release in percent after Advance; 100 is the end
	Why   string
}

// Next decides how a cross-fade goes on. rate is the host's requests a second.
//
// It goes on only while every instance of the new release is ready: a share that nobody can take would
// fall to the old one, and look well. And it goes back only to a release that can take the requests.
func Next(f *cloud.Crossfade, r Readiness, j Judgement, rate float64, now time.Time) Decision {
	switch {
	case r.Gone != "":
		return goBack(f, r, r.Gone)
	case j.Verdict == Worse && f.Step > 0:
		return goBack(f, r, worst(j.Findings))
	case f.Step > 0 && j.tooDear(f):
		return goBack(f, r, fmt.Sprintf("about %.0f of %d requests of the budget are spent: %s", j.Cost, f.Budget, worst(j.Findings)))
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
		return Decision{Advance, share, "nothing was to be compared"}
	case r.Up && allowed && j.Verdict != Inconclusive:
		return Decision{Advance, share, allowedBy(j, share)}
	case r.Up && len(f.Steps) == 0 && !allowed && j.Verdict != Inconclusive && f.Share() < topShare && needed(f, j, rate, now) < topShare:
		return Decision{Move: Stay, Why: fmt.Sprintf("at %g %% it is judged in time, if it is good", f.Share())}
	}
	return wait(f, r, j, share, now)
}

// leftOf is how long a share that micro chose must hold yet before the next.
func leftOf(f *cloud.Crossfade, next float64, now time.Time) time.Duration {
	switch {
	case next == 100:
		return lastDwell - now.Sub(f.Since)
	case next == lastShare:
		return time.Duration(f.Over) - lastDwell - now.Sub(f.Began())
	}
	return leastDwell - now.Sub(f.Since)
}

// first decides when a fade leaves its step 0, at which the instances are made ready.
func first(f *cloud.Crossfade, r Readiness, j Judgement, rate float64, now time.Time) Decision {
	share, _ := nextShare(f, j, rate, now)
	switch {
	case r.Up && len(f.Steps) == 0 && rate == 0:
		return Decision{Move: Stay, Why: "the host's requests are being counted"}
	case r.Up:
		return Decision{Advance, share, "all instances are ready"}
	case now.Sub(f.Started) > time.Duration(f.Max):
		return Decision{Move: Abort, Why: fmt.Sprintf("the instances of %s were not ready within %s", f.To, f.Max)}
	}
	return Decision{Move: Stay, Why: "its instances are not ready yet"}
}

// wait decides what to do where the time is over and the evidence does not allow the next step: to hold for
// as long as the fade may wait, then to go on where nothing speaks against it, else what its owner wants.
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
		why = "there is some sign of harm: " + worst(j.Findings)
	}
	switch {
	case waited <= time.Duration(f.Max):
		return Decision{Move: Hold, Why: why}
	case r.Up && r.Back && (j.Verdict == NoHarm || j.Verdict == NoWorse):
		return Decision{Advance, onward(f, share), j.noHarm()}
	case waited <= 2*time.Duration(f.Max) && (f.OnInconclusive == cloud.InconclusiveHold || f.OnInconclusive == cloud.InconclusiveGo && !r.Up):
		left := (2*time.Duration(f.Max) - waited).Round(time.Second)
		return Decision{Move: Hold, Why: fmt.Sprintf("%s; in %s it goes back by itself", why, left)}
	case f.OnInconclusive == cloud.InconclusiveGo:
		return Decision{Advance, onward(f, share), fmt.Sprintf("%s within %s, and it was to go on then", why, f.Max)}
	}
	return goBack(f, r, fmt.Sprintf("%s within %s", why, f.Max))
}

// onward is the share after a wait that is over: what the budget allows may be no more than the release has, and a
// fade must come to its end.
func onward(f *cloud.Crossfade, share float64) float64 {
	if len(f.Steps) > 0 || f.Share() >= topShare {
		return share
	}
	return max(share, round(min(f.Share()*largestRaise, topShare)))
}

// goBack leads the route back, unless nobody is there to take it.
func goBack(f *cloud.Crossfade, r Readiness, why string) Decision {
	if !r.Back && f.Step > 0 {
		return Decision{Move: Hold, Why: fmt.Sprintf("%s, and no instance of %s is ready to go back to", why, f.From)}
	}
	return Decision{Move: Abort, Why: why}
}

// worst is the evidence of the guard that failed.
func worst(findings []Finding) string {
	for _, f := range findings {
		if f.Verdict == Worse || f.Verdict == Inconclusive {
			return fmt.Sprintf("%s got worse: %s", f.Guard, f.Text)
		}
	}
	return "it got worse"
}

// allowedBy says what a step stands on.
func allowedBy(j Judgement, share float64) string {
	if j.Verdict == NoWorse || share == 100 {
		return string(NoWorse)
	}
	return j.noHarm()
}

// noHarm says how much is known where nothing speaks against the release.
func (j Judgement) noHarm() string {
	switch {
	case j.Requests == 0:
		return "no request came to judge by: its instances stayed healthy, and that is all that is known"
	case j.MoreErrors >= 1:
		return fmt.Sprintf("no sign of harm in %d requests, which are too few to say more: its instances stayed healthy", j.Requests)
	}
	return fmt.Sprintf("no sign of harm, and at most %s more failed requests of 1,000 possible", perThousand(j.MoreErrors))
}

// tooDear says whether a release goes back for what it has cost: the nearer the cost comes to the budget, the less evidence
// of harm is enough.
func (j Judgement) tooDear(f *cloud.Crossfade) bool {
	if len(f.Guards) == 0 || f.Budget <= 0 {
		return false
	}
	spent := j.Cost / float64(f.Budget)
	// From dearly on, the odds that are enough fall from those of a verdict to budgetOdds.
	part := min((spent-dearly)/(1-dearly), 1)
	return part > 0 && j.Odds >= math.Pow(budgetOdds*DefaultAlpha, part)/DefaultAlpha
}
