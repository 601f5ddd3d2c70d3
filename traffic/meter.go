package traffic

import (
	"fmt"
	"math"
	"time"
)

// Meters are amounts that the instances of one release have counted so far, by guard: processor time in milliseconds, log
// lines of level error, an app's own counter. They only grow.
type Meters map[Guard]float64

// Limit is how much an amount per request may differ. It belongs to a guard that compares meters.
type Limit struct {
	Guard Guard   `json:"guard"`
	By    float64 `json:"by"`             // as a part of the old release's amount
	Less  bool    `json:"less,omitempty"` // a smaller amount is worse; otherwise a larger one
	Unit  string  `json:"unit"`
	// Spare is what an amount may differ without being worse, per second of an instance's life: work that no request caused.
	Spare float64 `json:"spare,omitempty"`
}

// LimitOf returns the limit of a guard that compares amounts that micro itself counts; false for other guards.
func LimitOf(g Guard) (l Limit, ok bool) {
	for _, l := range []Limit{cpuLimit, logLimit} {
		if l.Guard == g {
			return l, true
		}
	}
	return Limit{}, false
}

var (
	cpuLimit = Limit{Guard: CPU, By: 0.2, Unit: "ms of processor time", Spare: 10}
	logLimit = Limit{Guard: Logs, By: 0.2, Unit: "log lines of level error"}
)

// meterPart is the part of the wealth of each guard that compares meters.
const meterPart = 0.1

// meterLifts are the bets of a sign test, as parts of the way from the chance of one half to certainty.
var meterLifts = []lift{{0.4, 3, 1, .5}, {0.9, 3, 1, .5}}

// meter is the evidence of a guard that compares amounts per request. Each block of time is one toss: is the new release's
// amount per request worse than the old one's by more than the limit? Between releases that are alike at most half of the
// tosses say so, whatever the amounts' distribution is like, because both had the same time. So bursts cause no false alarm.
type meter struct {
	Limit  Limit     `json:"limit"`
	Harm   suspicion `json:"harm"`
	Sum    measured  `json:"sum"`
	Block  measured  `json:"block"` // under way
	Worse  int       `json:"worse"` // tosses that said so
	Tosses int       `json:"tosses"`
}

// measured has requests and amounts of both releases in some time.
type measured struct {
	OldN  float64       `json:"old_n"`
	NewN  float64       `json:"new_n"`
	Old   float64       `json:"old"`
	New   float64       `json:"new"`
	Spare float64       `json:"spare"` // of the new release
	Took  time.Duration `json:"took"`
}

const (
	// A block has at least so many requests of each release, and so much time.
	blockRequests = 10
	blockTime     = 2 * time.Second
	// blockEvents is how many events of a rare kind the release with the smaller share must have had in a block if both are
	// alike: with fewer, the toss says nothing.
	blockEvents = 3
)

func (b *measured) add(oldN, newN, old, new, spare float64, took time.Duration) {
	b.OldN, b.NewN, b.Old, b.New, b.Spare, b.Took = b.OldN+oldN, b.NewN+newN, b.Old+old, b.New+new, b.Spare+spare, b.Took+took
}

func (b *measured) complete() bool {
	if b.Took < blockTime || b.OldN < blockRequests || b.NewN < blockRequests {
		return false
	}
	return (b.Old+b.New)*min(b.OldN, b.NewN)/(b.OldN+b.NewN) >= blockEvents
}

// isWorse is the result of a toss. An amount more or less is left to chance: amounts may be whole numbers.
func (b *measured) isWorse(l Limit) bool {
	expected := b.Old / b.OldN * b.NewN
	if l.Less {
		return b.New+1 < expected*(1-l.By)
	}
	return b.New-1-b.Spare > expected*(1+l.By)
}

// add adds what both releases counted in some time, and decides a toss when the block is complete.
func (m *meter) add(b measured) {
	m.Sum.add(b.OldN, b.NewN, b.Old, b.New, b.Spare, b.Took)
	m.Block.add(b.OldN, b.NewN, b.Old, b.New, b.Spare, b.Took)
	if !m.Block.complete() {
		return
	}
	worse := m.Block.isWorse(m.Limit)
	// Where the new release has more requests than the old one, rare events are more often its own.
	chance := max(0.5, m.Block.NewN/(m.Block.OldN+m.Block.NewN))
	m.Harm.bet(meterLifts, m.Block.Took, func(l lift) float64 {
		expected := chance + (1-chance)*l.by
		if worse {
			return math.Log(expected / chance)
		}
		return math.Log((1 - expected) / (1 - chance))
	})
	if m.Tosses++; worse {
		m.Worse++
	}
	m.Block = measured{}
}

func (m *meter) text() string {
	per := func(amount, n float64) string {
		if n == 0 {
			return "none"
		}
		return fmt.Sprintf("%.3g", amount/n)
	}
	return fmt.Sprintf("%s %s a request, before %s; worse by more than %g %% in %d of %d blocks of time",
		per(m.Sum.New, m.Sum.NewN), m.Limit.Unit, per(m.Sum.Old, m.Sum.OldN), 100*m.Limit.By, m.Worse, m.Tosses)
}

// Limits sets which meters are compared. Evidence of others is forgotten.
func (t *Trial) Limits(all []Limit) {
	kept := map[Guard]*meter{}
	for _, l := range all {
		m := t.Meters[l.Guard]
		if m == nil || m.Limit != l {
			m = &meter{Limit: l, Harm: newSuspicion(meterLifts)}
		}
		kept[l.Guard] = m
	}
	t.Meters = kept
}

// Measure adds what both releases have counted and answered since the last time. instances is how many of the new release
// were counted. A meter that one of them lacks is left out: it is not known.
func (t *Trial) Measure(old, new Meters, oldRequests, newRequests uint64, instances int, took time.Duration) {
	for g, m := range t.Meters {
		a, known := old[g]
		b, too := new[g]
		if !known || !too {
			continue
		}
		m.add(measured{float64(oldRequests), float64(newRequests), a, b, m.Limit.Spare * float64(instances) * took.Seconds(), took})
	}
}

// enough is how many requests of the new release must have been measured before a guard that compares meters lets a
// cross-fade go on early: as many as prove that a release is worse in every block.
const enough = 20 * blockRequests

// measured returns the verdict of a guard that compares what instances use or count, without signs of harm.
func (t *Trial) measured(g Guard) (Verdict, string) {
	if g == Memory {
		return NoWorse, t.memoryText()
	}
	m := t.Meters[g]
	switch {
	case m == nil:
		return NoHarm, "not measured"
	case m.Sum.NewN < enough || 2*m.Worse > m.Tosses:
		return NoHarm, m.text()
	}
	return NoWorse, m.text()
}
