package cloud

import (
	"slices"
	"time"
)

// FadeRecord is how a cross-fade went. It stays with the release that the traffic was to go to.
type FadeRecord struct {
	Host     Host        `json:"host"`
	Path     string      `json:"path"`
	From     ReleaseRef  `json:"from"`
	To       ReleaseRef  `json:"to"`
	Started  time.Time   `json:"started"`
	By       string      `json:"by"` // who began it
	Ended    time.Time   `json:"ended,omitzero"`
	EndedBy  string      `json:"ended_by,omitempty"`
	Finished bool        `json:"finished,omitempty"` // false once it has ended: it went back
	Reason   string      `json:"reason,omitempty"`   // why it ended so
	Budget   int         `json:"budget,omitempty"`
	Steps    []FadeEntry `json:"steps"`
}

// FadeEntry is something that happened to a cross-fade.
type FadeEntry struct {
	At      time.Time    `json:"at"`
	By      string       `json:"by"`
	What    string       `json:"what"`  // started, step, paused, resumed, finished, aborted
	Share   float64      `json:"share"` // percent that the new release has from then on
	Why     string       `json:"why,omitempty"`
	Figures *FadeFigures `json:"figures,omitempty"` // of the step that has ended then
}

// FadeFigures are what a step has shown: the verdict with everything that was known until then, and what both releases did
// in this step.
type FadeFigures struct {
	Verdict    string     `json:"verdict"`
	Odds       float64    `json:"odds"`
	MoreErrors float64    `json:"more_errors"`
	MoreSlow   float64    `json:"more_slow"`
	Cost       float64    `json:"cost"`
	Old        FadeCounts `json:"old_counts"`
	New        FadeCounts `json:"new_counts"`
}

// FadeCounts are what one release did in a step.
type FadeCounts struct {
	Requests uint64    `json:"requests"`
	Errors   uint64    `json:"errors"`
	Classes  [6]uint64 `json:"classes"` // answers by the first digit of their status
	P50      float64   `json:"p50_ms,omitempty"`
	P95      float64   `json:"p95_ms,omitempty"`
	P99      float64   `json:"p99_ms,omitempty"`
	UnderWay uint64    `json:"under_way,omitempty"` // requests that waited for their answer at its end
	Crashes  int       `json:"crashes,omitempty"`   // of its instances, ever
	CPU      float64   `json:"cpu_ms,omitempty"`    // of processor time a request, since the fade began
	Memory   int64     `json:"memory,omitempty"`    // bytes, of the instance that uses most of its limit
}

// A record is bounded, so that the state is: who pauses and resumes for days loses the oldest of it.
const (
	mostFadeEntries = 40
	mostFadeRecords = 5 // that a release keeps
)

// noted returns the fade with one more entry in its record. The first entry is kept.
func (f *Crossfade) noted(at Stamp, what string, figures *FadeFigures) *Crossfade {
	c := *f
	c.Log = append(slices.Clone(f.Log), FadeEntry{At: at.At, By: at.By, What: what, Share: f.Share(), Why: at.Why, Figures: figures})
	if len(c.Log) > mostFadeEntries {
		c.Log = slices.Delete(c.Log, 1, len(c.Log)-mostFadeEntries+1)
	}
	return &c
}

// Record is how the fade went so far.
func (f *Crossfade) Record(h Host, path string) FadeRecord {
	return FadeRecord{Host: h, Path: path, From: f.From, To: f.To, Started: f.Started, By: f.By, Budget: f.Budget, Steps: f.Log}
}

// keepRecord returns the change that leaves a record with the release. s is the state that the fade's other changes lead to.
func (s *State) keepRecord(r FadeRecord) []Change {
	rel, ok := s.Release(r.To)
	if !ok {
		return nil
	}
	next := *rel
	next.Fades = append(slices.Clone(rel.Fades), r)
	next.Fades = next.Fades[max(0, len(next.Fades)-mostFadeRecords):]
	return []Change{Put(&next)}
}

// FadesOf returns the records of a release's cross-fades, the oldest first, with those that are under way.
func (s *State) FadesOf(r ReleaseRef) []FadeRecord {
	var out []FadeRecord
	if rel, ok := s.Release(r); ok {
		out = slices.Clone(rel.Fades)
	}
	for vhost := range s.HostsOf(r.AppRef) {
		for _, route := range vhost.Routes {
			if f := route.Crossfade; f != nil && f.To == r {
				out = append(out, f.Record(vhost.Host, route.Path))
			}
		}
	}
	return out
}

// FadesTo returns the records of a route's cross-fades that are kept, the oldest first, with the one that is under way.
func (s *State) FadesTo(h Host, path string) ([]FadeRecord, error) {
	vhost, route, err := s.mustRoute(h, path)
	if err != nil {
		return nil, err
	}
	apps := map[AppRef]bool{}
	for _, t := range route.Targets {
		apps[t.AppRef] = true
	}
	if f := route.Faded; f != nil {
		apps[f.From.AppRef], apps[f.To.AppRef] = true, true
	}
	var out []FadeRecord
	for app := range apps {
		for rel := range s.Releases(app) {
			for _, r := range rel.Fades {
				if r.Host == vhost.Host && r.Path == path {
					out = append(out, r)
				}
			}
		}
	}
	if f := route.Crossfade; f != nil {
		out = append(out, f.Record(h, path))
	}
	slices.SortFunc(out, func(a, b FadeRecord) int { return a.Started.Compare(b.Started) })
	return out, nil
}
