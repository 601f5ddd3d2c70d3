package simulate

import (
	"testing"
	"time"
)

// Few clients who stay with their release, some of whom fail often, decide nothing where each counts once.
func TestNoisyClients(t *testing.T) {
	w := World{Rate: 50, Old: good, New: good}
	w.Clients = &Clients{N: 50, Noisy: .04, Failing: .5, Stay: 10 * time.Minute, ByClient: true}
	const runs = 30
	// P(Binomial(30, 0.005) > 2) is 0.0005.
	if through, back, _, _ := many(t, runs, w); back > 2 {
		t.Errorf("by client: %d through, %d back", through, back)
	}
	w.New.Failing = .5 // at each client
	if through, back, _, _ := many(t, 5, w); back < 5 {
		t.Errorf("half of the requests fail: %d through, %d back", through, back)
	}
}
