package traffic

import (
	"encoding/json"
	"testing"
	"time"
)

var testBounds = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, time.Second}

// counted is a release that has answered n requests of each length but the longest, and failed.
func counted(n, failed uint64) Sample {
	s := Sample{Requests: 4 * n, Errors: failed, Started: 4 * n, Ended: 4 * n, Bounds: testBounds, Counts: []uint64{n, n, n, n, 0}}
	s.Classes[2], s.Classes[5] = 4*n-failed, failed
	return s
}

func guards() []Guard { return []Guard{Errors, Latency} }

// A trial that was saved and resumed says what it said before, and goes on from there.
func TestTrialOutlivesItsProcess(t *testing.T) {
	trial := Begin(counted(1000, 1), counted(0, 0), DefaultMargins, noon)
	for i := range uint64(60) {
		trial.Observe(counted(1000+i*10, 1), counted(i*10, i), noon.Add(time.Duration(i)*time.Second))
	}
	before := trial.Judge(guards())
	text, err := json.Marshal(trial)
	if err != nil {
		t.Fatal(err)
	}
	var again Trial
	if err := json.Unmarshal(text, &again); err != nil || !again.Valid() {
		t.Fatal(err, again.Valid())
	}
	again.Resume(counted(0, 0), counted(0, 0), DefaultMargins, noon.Add(time.Hour)) // the counts began anew
	after := again.Judge(guards())
	if after.Verdict != before.Verdict || after.Odds != before.Odds || after.Cost != before.Cost || before.Odds < suspiciousOdds {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	// A moment's outage is limited, so two seconds more must raise the odds.
	again.Observe(counted(10, 0), counted(10, 40), noon.Add(time.Hour+2*time.Second))
	if more := again.Judge(guards()); more.Odds <= before.Odds {
		t.Errorf("odds of %g after %g", more.Odds, before.Odds)
	}
}

func TestTrialOfAnotherVersionIsNotValid(t *testing.T) {
	trial := Begin(counted(1000, 1), counted(0, 0), DefaultMargins, noon)
	if !trial.Valid() {
		t.Fatal("a new trial is not valid")
	}
	trial.ErrorsHarm.Stakes = trial.ErrorsHarm.Stakes[1:]
	if trial.Valid() {
		t.Error("a trial with a bet less is valid")
	}
}

// Where the counts begin anew, as they do when a node restarts, nothing is taken for new.
func TestCountsThatBeginAnew(t *testing.T) {
	trial := Begin(counted(1000, 10), counted(1000, 10), DefaultMargins, noon)
	trial.Observe(counted(5, 0), counted(5, 5), noon.Add(time.Second))
	if n := trial.Totals.New; n.Requests != 0 || n.Errors != 0 {
		t.Errorf("%+v", n)
	}
}

// A release that hangs is found by the requests under way, long before any of them ends.
func TestHangingRequestsCount(t *testing.T) {
	old, fresh := counted(1000, 1), counted(0, 0)
	trial := Begin(old, fresh, DefaultMargins, noon)
	for s := 1; s <= 20; s++ {
		old = counted(1000+uint64(s)*5, 1)
		fresh.Started += 5 // and none ends
		trial.Observe(old, fresh, noon.Add(time.Duration(s)*time.Second))
		if j := trial.Judge(guards()); j.Verdict == Worse {
			t.Logf("found after %d s, %d requests under way, cost %.0f", s, fresh.Started, j.Cost)
			if s > 8 {
				t.Error("that is too late")
			}
			return
		}
	}
	t.Error("never found")
}

// What is under way when a trial begins is nobody's evidence.
func TestOldStreamsAreNotLate(t *testing.T) {
	old, fresh := counted(1000, 1), counted(0, 0)
	fresh.Started = 50
	trial := Begin(old, fresh, DefaultMargins, noon)
	for s := 1; s <= 60; s++ {
		old, fresh = counted(1000+uint64(s)*5, 1), counted(uint64(s)*5, 0)
		fresh.Started += 50
		trial.Observe(old, fresh, noon.Add(time.Duration(s)*time.Second))
	}
	if n := trial.Totals.New.Late; n != 0 {
		t.Errorf("%d late requests", n)
	}
}

// Failures of few requests are no proof, and no reason to go on.
func TestStrikingFailureIsNoGood(t *testing.T) {
	trial := Begin(counted(1000, 1), counted(0, 0), DefaultMargins, noon)
	one := counted(0, 0)
	one.Requests, one.Errors, one.Classes[5] = 1, 1, 1
	trial.Observe(counted(1010, 1), one, noon.Add(time.Minute))
	if j := trial.Judge(guards()); j.Verdict != Inconclusive {
		t.Errorf("one failure of one is %q", j.Verdict)
	}
}

func TestForecast(t *testing.T) {
	trial := Begin(counted(1000, 1), counted(0, 0), DefaultMargins, noon)
	for i := range uint64(20) {
		trial.Observe(counted(1000+i*2, 1), counted(0, 0), noon.Add(time.Duration(i)*time.Second))
	}
	f := trial.Forecast(fadeAt(0, nil), guards(), trial.Rate(), noon.Add(20*time.Second))
	t.Logf("at %.1f requests a second: %+v", trial.Rate(), f)
	if f.Through < 5*time.Minute || f.Through > 31*time.Minute || f.Caught < 2 || f.Caught > 20 {
		t.Errorf("%+v", f)
	}
	if n := trial.Totals.New.Requests; n != 0 {
		t.Errorf("foreseeing has counted %d requests", n)
	}
}

func BenchmarkForecast(b *testing.B) {
	trial := Begin(counted(1000, 1), counted(0, 0), DefaultMargins, noon)
	for i := range uint64(20) {
		trial.Observe(counted(1000+i*2, 1), counted(0, 0), noon.Add(time.Duration(i)*time.Second))
	}
	for b.Loop() {
		trial.Forecast(fadeAt(0, nil), guards(), 1, noon)
	}
}

func BenchmarkJudgement(b *testing.B) {
	trial := Begin(counted(1000, 1), counted(0, 0), DefaultMargins, noon)
	n, now := uint64(0), noon
	for b.Loop() {
		n, now = n+25, now.Add(time.Second)
		trial.Observe(counted(1000+n, 1), counted(n, 0), now)
		Next(fadeAt(25, nil), Readiness{Up: true, Back: true}, trial.Judge(guards()), 100, now)
	}
}

// A release that answers 200 and nothing with it is found, though nothing fails.
func TestEmptyAnswersCount(t *testing.T) {
	sized := func(n uint64, bin int) Sample {
		s := counted(n/4, 0)
		s.Sizes[bin] = n
		return s
	}
	trial := Begin(sized(4000, 12), sized(0, 12), DefaultMargins, noon)
	for s := 1; s <= 20; s++ {
		trial.Observe(sized(4000+uint64(s)*20, 12), sized(uint64(s)*20, 1), noon.Add(time.Duration(s)*time.Second))
		if j := trial.Judge(nil); j.Verdict == Worse {
			if s > 8 {
				t.Errorf("found after %d s", s)
			}
			return
		}
	}
	t.Error("never found")
}

// Answers of twice the length are another page, not a broken one.
func TestSomewhatLongerAnswersDoNot(t *testing.T) {
	trial := Begin(Sample{}, Sample{}, DefaultMargins, noon)
	var old, fresh Sample
	for s := 1; s <= 60; s++ {
		old.Requests, old.Sizes[12] = old.Requests+20, old.Sizes[12]+20
		fresh.Requests, fresh.Sizes[13] = fresh.Requests+20, fresh.Sizes[13]+20
		trial.Observe(old, fresh, noon.Add(time.Duration(s)*time.Second))
	}
	if j := trial.Judge(nil); j.Verdict == Worse || j.Odds > suspiciousOdds {
		t.Errorf("%s at odds of %g", j.Verdict, j.Odds)
	}
}
