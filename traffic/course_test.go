package traffic

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// defaultFade is a fade as nobody asked for anything else.
func defaultFade(m Margins) *cloud.Crossfade {
	f := &cloud.Crossfade{Steps: []int{1, 5, 20, 50, 100}, Step: 3}
	f.Guards, f.Errors, f.Latency = []string{string(Errors), string(Latency)}, m.Errors, m.Latency
	return f
}

// run looks at two releases again and again, which have had so many requests meanwhile, until the new one is
// worse or the time is over. It returns after how long that was.
type run struct {
	old, fresh       source
	every            time.Duration
	perOld, perFresh int
	a, b             Sample
	course           *Course
	now              time.Time
}

func (r *run) until(f *cloud.Crossfade, limit time.Duration) (v Verdict, took time.Duration) {
	if r.course == nil {
		r.course = Begin(r.a, r.b, r.now)
	}
	for begun := r.now; r.now.Sub(begun) < limit; {
		r.now = r.now.Add(r.every)
		r.old.draw(&r.a, r.perOld)
		r.fresh.draw(&r.b, r.perFresh)
		if v, _ = JudgeStep(f, renewed(r.course, r.a, r.b, r.now), r.now); v == Worse {
			return v, r.now.Sub(begun)
		}
	}
	return v, limit
}

// A release that was fine for long and then breaks is found as soon as one that was never fine.
func TestLateErrorsAreFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		errors float64
		median time.Duration
		good   time.Duration
		within time.Duration
	}{
		{"all fail after 10 minutes", 1, 40 * time.Millisecond, 10 * time.Minute, 4 * time.Second},
		{"all fail after 5 hours", 1, 40 * time.Millisecond, 5 * time.Hour, 4 * time.Second},
		{"5 % fail after 5 hours", .05, 40 * time.Millisecond, 5 * time.Hour, 5 * time.Minute},
		{"twice the latency after 5 hours", .001, 80 * time.Millisecond, 5 * time.Hour, 5 * time.Minute},
	} {
		rng := rand.New(rand.NewPCG(7, 5))
		good := source{rng, .001, 40 * time.Millisecond}
		r := run{old: good, fresh: good, every: time.Second, perOld: 40, perFresh: 10}
		// Nobody looks while all is well: what was counted is there all the same.
		f := defaultFade(DefaultMargins)
		r.course = Begin(r.a, r.b, r.now)
		for range c.good / (30 * time.Second) {
			r.now = r.now.Add(30 * time.Second)
			r.old.draw(&r.a, 30*r.perOld)
			r.fresh.draw(&r.b, 30*r.perFresh)
			if v, _ := JudgeStep(f, renewed(r.course, r.a, r.b, r.now), r.now); v != NoWorse && r.b.Requests > 10_000 {
				t.Fatalf("%s: %s while all is well", c.name, v)
			}
		}
		r.fresh = source{rng, c.errors, c.median}
		v, took := r.until(f, 10*time.Minute)
		t.Logf("%s: %s after %s", c.name, v, took)
		if v != Worse || took > c.within {
			t.Errorf("%s: %s after %s, want worse within %s", c.name, v, took, c.within)
		}
	}
}

// The later comparisons of a step share one alpha, however many there are.
func TestAlphaIsShared(t *testing.T) {
	sum := Stretch{}.alpha(1)
	for range scales {
		for n := 1; n < 100_000; n++ {
			sum += Stretch{Nth: n}.alpha(1)
		}
	}
	if sum > 1 || sum < .999 {
		t.Errorf("the parts sum up to %g", sum)
	}
}

func TestCourse(t *testing.T) {
	begun := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	count := func(n uint64) Sample {
		return Sample{Requests: n, Errors: n / 10, Bounds: testBounds[:1], Counts: []uint64{n}}
	}
	c := Begin(count(1000), count(100), begun)
	for _, look := range []struct {
		at         time.Duration
		old, fresh uint64
		nth        []int
		requests   []uint64 // of the old release
	}{
		{time.Second, 1010, 101, []int{0}, []uint64{10}},
		{time.Minute, 1600, 160, []int{0, 1}, []uint64{600, 0}},
		{90 * time.Second, 1900, 190, []int{0, 1}, []uint64{900, 300}},
		{2 * time.Minute, 2200, 220, []int{0, 2}, []uint64{1200, 0}},
		{9 * time.Minute, 6400, 640, []int{0, 9, 1}, []uint64{5400, 0, 0}},
		{9*time.Minute + time.Second, 6410, 641, []int{0, 9, 1}, []uint64{5410, 10, 10}},
		{9*time.Minute + 2*time.Second, 50, 5, []int{0, 9, 1}, []uint64{0, 0, 0}}, // counting began anew
	} {
		got := renewed(c, count(look.old), count(look.fresh), begun.Add(look.at))
		if len(got) != len(look.nth) {
			t.Fatalf("after %s %d stretches, want %d", look.at, len(got), len(look.nth))
		}
		for i, s := range got {
			if s.Nth != look.nth[i] || s.Old.Requests != look.requests[i] || s.Old.Counts[0] != look.requests[i] {
				t.Errorf("after %s stretch %d is %+v", look.at, i, s)
			}
		}
	}
}

// renewed is the course's windows as whoever keeps it sees them.
func renewed(c *Course, old, fresh Sample, now time.Time) []Stretch {
	c.Renew(old, fresh, now)
	return c.Windows(old, fresh)
}
