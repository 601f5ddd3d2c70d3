package traffic

import (
	"encoding/json"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Forecast is how a cross-fade would go on at today's rate of requests.
type Forecast struct {
	Through time.Duration // until the end if the new release is like the old one; 0 is not known
	// Caught is how many requests a release that fails one of twenty would harm, from the first share on, until the
	// traffic is back; 0 is not known.
	Caught int
}

// ticks is how many moments a forecast looks at: it is made while others wait for the leader.
const ticks = 2000

// Forecast plays a cross-fade from now on, with as many requests each second as are to be expected.
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

// play runs a fade with a new release that fails so many more requests, and returns how it ends.
func (t *Trial) play(f *cloud.Crossfade, guards []Guard, rate, failing float64, now time.Time) (took time.Duration, harmed float64, move Move) {
	c, fade := t.clone(), *f
	// As long as a fade may take, with a wait at each of its steps.
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

// expect observes the requests that are to be expected in a time: parts of requests too.
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
		// Within the margin one answer of three that was slow is not.
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
		panic("a trial that can't be written: " + err.Error())
	}
	c := new(Trial)
	if err := json.Unmarshal(text, c); err != nil {
		panic("a trial that can't be read: " + err.Error())
	}
	c.margins, c.lastOld, c.lastNew, c.at = t.margins, t.lastOld, t.lastNew, t.at
	return c
}
