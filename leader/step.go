package leader

import (
	"math"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// step is where the counts of both releases stood when the present step of a cross-fade began. An earlier leader's is not
// known: then the step is counted from this one's start on.
type step struct {
	n          int
	since      time.Time
	old, fresh traffic.Sample
}

// follow begins the step anew where the fade has gone on.
func (s *step) follow(f *cloud.Crossfade, old, fresh traffic.Sample, now time.Time) {
	if s.since.IsZero() || s.n != f.Step {
		*s = step{f.Step, now, old, fresh}
	}
}

// summarize adds to a judgement what both releases did in the present step. mu is held.
func (c *Crossfades) summarize(v cloud.View, p *pair, j *Judgement) {
	if !p.step.since.IsZero() {
		old, fresh := c.samples(p.at, p.fade)
		j.Step.Since = p.step.since
		j.Step.Old, j.Step.New = traffic.Summarize(old, p.step.old), traffic.Summarize(fresh, p.step.fresh)
	}
	j.Step.OldCrashes, j.Step.NewCrashes = crashesOf(v, p.fade.From), crashesOf(v, p.fade.To)
}

// crashesOf is how often a release's web instances ended by themselves, ever.
func crashesOf(v cloud.View, r cloud.ReleaseRef) (n int) {
	for c := range v.Instances.CrashesOf(r.AppRef) {
		if c.ReleaseRef == r && c.Process == cloud.Web {
			n += c.Total
		}
	}
	return n
}

// Figures are what the record of the fade keeps of its present step.
func (j Judgement) Figures() *cloud.FadeFigures {
	counts := func(s traffic.Summary, crashes int, cpu time.Duration, memory int64) cloud.FadeCounts {
		return cloud.FadeCounts{
			Requests: s.Requests, Errors: s.Errors, Classes: s.Classes, P50: milliseconds(s.P50), P95: milliseconds(s.P95), P99: milliseconds(s.P99),
			UnderWay: s.UnderWay, Crashes: crashes, CPU: milliseconds(cpu), Memory: memory,
		}
	}
	rounded := func(x float64) float64 { return math.Round(x*100) / 100 }
	return &cloud.FadeFigures{
		Verdict: string(j.Verdict), Odds: rounded(min(j.Odds, 1e9)), MoreErrors: j.MoreErrors, MoreSlow: j.MoreSlow, Cost: rounded(j.Cost),
		Old: counts(j.Step.Old, j.Step.OldCrashes, j.OldCPU, j.Used.Old.Memory), New: counts(j.Step.New, j.Step.NewCrashes, j.NewCPU, j.Used.New.Memory),
	}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}
