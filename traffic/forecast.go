package traffic

import (
	"encoding/json"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Forecast estimates how a cross-fade goes on at the current rate of requests.
type Forecast struct {
	Through time.Duration // until the end, if the new release is as good as the old one; 0 if unknown
	// Caught is how many requests a release that fails 5 % of its requests would harm before it is stopped; 0 if unknown.
	Caught int
}

// ticks is the number of moments that a forecast simulates. It is limited because the leader waits for the forecast.
const ticks = 2000

// Forecast simulates a cross-fade from now on with the expected number of requests per second.
func (t *Trial) Forecast(f *cloud.Crossfade, guards []Guard, rate float64, now time.Time) Forecast {
	if rate <= 0 {
		return Forecast{}
	}
	out := Forecast{}
	if took, _, move := t.play(f, guards, rate, 0, now); move == Advance {
		out.Through = took
	}
	fresh := Begin(Sample{}, Sample{}, t.margins, now)
	fresh.Known, fresh.Times = t.Known, t.Times
	fresh.Known.NewErrors, fresh.Known.NewSlow = frequency{}, frequency{}
	begun := *f
	begun.Step, begun.Percent, begun.Started, begun.Since, begun.Paused = 0, 0, now, now, false
	if _, harmed, move := fresh.play(&begun, guards, rate, 0.05, now); move == Abort {
		out.Caught = max(1, int(harmed+0.5))
	}
	return out
}

// play simulates a cross-fade to a release that fails a larger share of requests by failing, and returns how it ends.
func (t *Trial) play(f *cloud.Crossfade, guards []Guard, rate, failing float64, now time.Time) (took time.Duration, harmed float64, move Move) {
	c, fade := t.clone(), *f
	// The longest that a cross-fade may take, with a wait at each step.
	span := time.Duration(f.Over) + time.Duration(f.Max)*time.Duration(len(f.Steps)+1)
	tick := max(time.Second, (span / ticks).Round(time.Second))
	ready := Readiness{Up: true, Back: true}
	fade.Paused = false
	for at := time.Duration(0); at <= span+time.Minute; at += tick {
		d := Next(&fade, ready, c.Judge(guards), rate, now.Add(at))
		switch {
		case d.Move == Abort, d.Move == Advance && d.Share >= 100:
			return at, harmed, d.Move
		case d.Move == Advance:
			if fade.Step == 0 {
				fade.First = now.Add(at)
			}
			fade.Step, fade.Percent, fade.Since = fade.Step+1, d.Share, now.Add(at)
		}
		share := fade.Share() / 100
		old, new := rate*(1-share)*tick.Seconds(), rate*share*tick.Seconds()
		c.expect(old, new, failing, tick)
		harmed += new * failing
	}
	return span, harmed, Hold
}

// expect observes the expected requests of a time span, which need not be whole numbers.
func (t *Trial) expect(old, new, failing float64, took time.Duration) {
	if old == 0 || new == 0 {
		return
	}
	p := t.Known.Errors.estimate(usualErrors)
	bl := &t.blocks
	bl.errors, bl.took = pair{old, old * p, new, new * min(1, p+failing)}, took
	t.judgeBlock()
	if t.Times == nil {
		return
	}
	usual := t.Known.spectrum()
	bl.slow, bl.tookSlow = spectrum{}, took
	for i, q := range usual {
		bl.slow.old[i] = old * q
		// Two thirds of the answers above a quantile stay above it with the margin added: an assumption.
		bl.slow.new[i] = new * q
		if i > 0 {
			bl.slow.new[i] -= new * q / 3
			bl.slow.new[i-1] += new * q / 3
		}
	}
	t.judgeTimes()
}

// clone returns a trial that shares nothing with t.
func (t *Trial) clone() *Trial {
	text, err := json.Marshal(t)
	if err != nil {
		panic("encode a trial: " + err.Error())
	}
	c := new(Trial)
	if err := json.Unmarshal(text, c); err != nil {
		panic("decode a trial: " + err.Error())
	}
	c.margins, c.lastOld, c.lastNew, c.at = t.margins, t.lastOld, t.lastNew, t.at
	return c
}
