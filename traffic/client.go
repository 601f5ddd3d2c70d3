package traffic

import "fmt"

// Clients are a release's requests by client, since a cross-fade compares it.
type Clients struct {
	// Known are clients that are old enough to count. The others count them by what became of their first requests: Failed
	// ones, else Other ones (4xx), else Moved ones (3xx).
	Known, Failed, Other, Moved uint64
	Requests                    uint64
	Busiest                     uint64 // requests of the five clients with most
	// First are the answers to the first request of each client, as in Sample.Counts.
	First []uint64
}

// ByClient returns the sample with clients in place of requests: each counts once, however many requests it sends. So one
// noisy client is one sample, not thousands. The lengths of answers are left out, and requests under way stay as they are.
func (s Sample) ByClient() Sample {
	c := s.Clients
	s.Requests, s.Errors = c.Known, c.Failed
	s.Classes = [6]uint64{2: c.Known - min(c.Failed+c.Other+c.Moved, c.Known), 3: c.Moved, 4: c.Other, 5: c.Failed}
	s.Counts, s.Sizes = c.First, [SizeBins]uint64{}
	return s
}

const (
	// fewRequests is the least number of requests from which few clients are worth a warning.
	fewRequests = 200
	// fewShare is the share of the requests that five clients must make for it.
	fewShare = 0.5
)

// few describes that few clients make most of the requests of one release; "" if they don't.
func (t *Trial) few() string {
	for _, c := range []Clients{t.lastOld.Clients, t.lastNew.Clients} {
		if share := float64(c.Busiest) / float64(max(c.Requests, 1)); c.Requests >= fewRequests && share > fewShare {
			return fmt.Sprintf("five clients make %.0f %% of a release's requests, so a single one may decide; on sticky routes --unit client counts each client once", 100*share)
		}
	}
	return ""
}
