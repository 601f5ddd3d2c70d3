package traffic

import (
	"strings"
	"testing"
	"time"
)

// One client whose every request fails is one client, whatever it sends.
func TestNoisyClientIsOneClient(t *testing.T) {
	var old, fresh Sample
	requests, clients := Begin(counted(1000, 1), Sample{}, DefaultMargins, noon), Begin(counted(1000, 1), Sample{}, DefaultMargins, noon)
	for s := range uint64(120) {
		old.Requests, fresh.Requests, fresh.Errors = 20*s, 20*s, 5*s
		old.Classes[2], fresh.Classes[2], fresh.Classes[5] = 20*s, 15*s, 5*s
		old.Clients = Clients{Known: min(s, 40), Requests: 20 * s, Busiest: 3 * s}
		fresh.Clients = Clients{Known: min(s, 40), Failed: min(s, 1), Requests: 20 * s, Busiest: 15 * s}
		at := noon.Add(time.Duration(s) * time.Second)
		requests.Observe(old, fresh, at)
		clients.Observe(old.ByClient(), fresh.ByClient(), at)
	}
	j := requests.Judge(guards())
	if j.Verdict != Worse {
		t.Errorf("by requests: %s", j.Verdict)
	}
	if last := j.Findings[len(j.Findings)-1]; last.Guard != Few || !strings.Contains(last.Text, "five clients make 75 %") {
		t.Errorf("no warning: %+v", j.Findings)
	}
	if j := clients.Judge(guards()); j.Verdict == Worse || j.Odds > 5 || j.Requests != 40 {
		t.Errorf("by clients: %s, odds %g, %d clients", j.Verdict, j.Odds, j.Requests)
	}
}

// A release at which most clients see a failure is found by clients too.
func TestClientsFindHarm(t *testing.T) {
	var old, fresh Sample
	trial := Begin(counted(1000, 1), Sample{}, DefaultMargins, noon)
	for s := range uint64(30) {
		old.Clients, fresh.Clients = Clients{Known: 2 * s}, Clients{Known: s, Failed: s / 2}
		trial.Observe(old.ByClient(), fresh.ByClient(), noon.Add(time.Duration(s)*time.Second))
	}
	if j := trial.Judge(guards()); j.Verdict != Worse {
		t.Errorf("%s at odds of %g", j.Verdict, j.Odds)
	}
}
