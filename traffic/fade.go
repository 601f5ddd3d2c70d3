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

// Next decides how a cross-fade goes on. up says that every instance of the new release is ready; alive
// that it may become so. v and findings are Judge's on what both releases did since the step began.
func Next(f *cloud.Crossfade, up, alive bool, v Verdict, findings []Finding, now time.Time) Decision {
	waited := now.Sub(f.Started)
	switch {
	case !alive:
		return Decision{Abort, fmt.Sprintf("%s does not run", f.To)}
	case v == Worse && f.Step > 0:
		return Decision{Abort, worst(findings)}
	case f.Paused:
		return Decision{Stay, "paused"}
	case f.Step == 0 && up:
		return Decision{Advance, "all instances are ready"}
	case f.Step == 0 && waited > time.Duration(f.Max):
		return Decision{Abort, fmt.Sprintf("the instances of %s were not ready within %s", f.To, f.Max)}
	case f.Step == 0:
		return Decision{Stay, "its instances are not ready yet"}
	}
	if left := f.Since.Add(f.Dwell()).Sub(now); left > 0 {
		return Decision{Stay, fmt.Sprintf("%s of this step are left", left.Round(time.Second))}
	}
	switch {
	case v == NoWorse:
		return Decision{Advance, "no worse"}
	case waited < time.Duration(f.Max) || f.OnInconclusive == cloud.InconclusiveHold:
		return Decision{Hold, "too little traffic to judge by yet"}
	case f.OnInconclusive == cloud.InconclusiveGo:
		return Decision{Advance, fmt.Sprintf("nothing to judge by within %s, and it is to go on then", f.Max)}
	}
	return Decision{Abort, fmt.Sprintf("too little traffic to judge by within %s", f.Max)}
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

// JudgeStep judges what both releases of a fade did in its present step. The fade's alpha is shared
// between its steps: each begins its own comparison, at a share that does not change while it runs.
func JudgeStep(f *cloud.Crossfade, old, fresh Sample) (Verdict, []Finding) {
	guards := make([]Guard, len(f.Guards))
	for i, g := range f.Guards {
		guards[i] = Guard(g)
	}
	steps := max(1, len(f.Steps)-1) // at the last one there is nothing left to compare with
	return Judge(old, fresh, guards, Margins{Errors: f.Errors, Latency: f.Latency, Floor: DefaultFloor}, DefaultAlpha/float64(steps))
}
