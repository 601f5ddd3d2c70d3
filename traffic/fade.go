package traffic

import (
	"fmt"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Move is what is to be done with a cross-fade now.
type Move string

// The moves.
const (
	Stay    Move = "stay"    // the time at this step is not over
	Hold    Move = "hold"    // it is, and there is not enough to judge by
	Advance Move = "advance" // to the next step, or to the end
	Abort   Move = "abort"   // back to where the route led before
)

// Decision is a move and why.
type Decision struct {
	Move Move
	Why  string
}

// Next decides how a cross-fade goes on. v and findings are Judge's on what both releases did since the
// step began.
//
// It goes on only while every instance of the new release is ready: a share that nobody can take would
// fall to the old one, and look well. And it goes back only to a release that can take the requests.
func Next(f *cloud.Crossfade, s Standing, v Verdict, findings []Finding, now time.Time) Decision {
	waited := now.Sub(f.Since) - f.Dwell() // beyond the step's own time
	if f.Step == 0 {
		waited = now.Sub(f.Started)
	}
	switch {
	case s.Gone != "":
		return goBack(f, s, s.Gone)
	case v == Worse && f.Step > 0:
		return goBack(f, s, worst(findings))
	case f.Paused:
		return Decision{Stay, "paused"}
	case f.Step == 0 && s.Up:
		return Decision{Advance, "all instances are ready"}
	case f.Step == 0 && waited > time.Duration(f.Max):
		return Decision{Abort, fmt.Sprintf("the instances of %s were not ready within %s", f.To, f.Max)}
	case f.Step == 0:
		return Decision{Stay, "its instances are not ready yet"}
	case waited < 0:
		return Decision{Stay, fmt.Sprintf("%s of this step are left", (-waited).Round(time.Second))}
	case s.Up && v == NoWorse:
		return Decision{Advance, "no worse"}
	}
	lacking, short := "too little traffic to judge by", waited < time.Duration(f.Max)
	switch {
	case !s.Up:
		lacking = fmt.Sprintf("not all instances of %s are ready", f.To)
	case !s.Back:
		lacking = fmt.Sprintf("no instance of %s is ready to compare with", f.From)
	}
	switch {
	case short || f.OnInconclusive == cloud.InconclusiveHold || f.OnInconclusive == cloud.InconclusiveGo && !s.Up:
		return Decision{Hold, lacking}
	case f.OnInconclusive == cloud.InconclusiveGo:
		return Decision{Advance, fmt.Sprintf("%s within %s, and it is to go on then", lacking, f.Max)}
	}
	return goBack(f, s, fmt.Sprintf("%s within %s", lacking, f.Max))
}

// goBack leads the route back, unless nobody is there to take it.
func goBack(f *cloud.Crossfade, s Standing, why string) Decision {
	if !s.Back && f.Step > 0 {
		return Decision{Hold, fmt.Sprintf("%s, and no instance of %s is ready to go back to", why, f.From)}
	}
	return Decision{Abort, why}
}

// worst is the evidence of the guard that failed.
func worst(findings []Finding) string {
	for _, f := range findings {
		if f.Verdict == Worse {
			return fmt.Sprintf("worse at %s: %s", f.Guard, f.Text)
		}
	}
	return "worse"
}

// JudgeStep judges what both releases of a fade did in its present step: as a whole, and of late, where worse
// is worse whatever was before. The fade's alpha is shared between its steps: each begins its own
// comparison, at a share that does not change while it runs.
func JudgeStep(f *cloud.Crossfade, course []Stretch, now time.Time) (Verdict, []Finding) {
	guards := make([]Guard, len(f.Guards))
	for i, g := range f.Guards {
		guards[i] = Guard(g)
	}
	steps := max(1, len(f.Steps)-1) // at the last one there is nothing left to compare with
	margins := Margins{Errors: f.Errors, Latency: f.Latency, Floor: DefaultFloor}
	overall, findings := Inconclusive, []Finding(nil)
	for _, s := range course {
		v, found := Judge(s.Old, s.Fresh, guards, margins, s.alpha(DefaultAlpha/float64(steps)))
		switch {
		case s.Nth == 0:
			overall, findings = v, found
		case v == Worse:
			for i := range found {
				found[i].Text = fmt.Sprintf("in the last %s %s", now.Sub(s.Began).Round(time.Second), found[i].Text)
			}
			return v, found
		}
		if overall == Worse {
			break
		}
	}
	return overall, findings
}
