package leader

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/traffic"
)

// route names a route.
type route struct {
	host cloud.Host
	path string
}

// pair is two releases that are compared: those of a cross-fade, or two targets since they have the weights
// that they have.
type pair struct {
	at       route
	fade     *cloud.Crossfade
	trial    *traffic.Trial
	saved    time.Time // when the trial was saved last
	forecast traffic.Forecast
	foreseen time.Time
	told     map[string]bool // what events have said of the cross-fade

	step       step
	measured   time.Time // when it was asked last what the instances use
	measuring  bool
	old, fresh consumption
}

// record is a trial as it is saved, with what tells that it belongs to a fade.
type record struct {
	From    cloud.ReleaseRef `json:"from"`
	To      cloud.ReleaseRef `json:"to"`
	Started time.Time        `json:"started"`
	Trial   *traffic.Trial   `json:"trial"`
}

const (
	trialNotes = "trial/"
	// saveEvery is how much evidence a killed leader may lose.
	saveEvery = 5 * time.Second
)

func (r route) note() string { return trialNotes + string(r.host) + r.path }

// begun says whether somebody began the fade: other pairs are compared and no more.
func begun(f *cloud.Crossfade) bool { return !f.Started.IsZero() }

// sameTrial says whether what was counted for a goes on with b. The steps of one fade are one trial; where targets
// are compared without a fade, other weights begin another.
func sameTrial(a, b *cloud.Crossfade) bool {
	return a.From == b.From && a.To == b.To && a.Started.Equal(b.Started) && (begun(a) || slices.Equal(a.Before, b.Before))
}

func margins(f *cloud.Crossfade) traffic.Margins {
	return traffic.Margins{Errors: f.Errors, Latency: f.Latency, Floor: traffic.DefaultFloor}
}

// begin begins to compare two releases, or goes on where an earlier leader of the fade has stopped. mu is held.
func (c *Crossfades) begin(at route, f *cloud.Crossfade) *pair {
	now := c.Now()
	old, fresh := c.samples(at, f)
	if r, ok := c.saved[at]; ok && begun(f) && r.From == f.From && r.To == f.To && r.Started.Equal(f.Started) {
		r.Trial.Resume(old, fresh, margins(f), now)
		return &pair{fade: f, trial: r.Trial, saved: now, told: map[string]bool{}}
	}
	trial := traffic.Begin(c.Counts.Sample(at.host, at.path, f.From), fresh, margins(f), now)
	trial.Resume(old, fresh, margins(f), now) // the past is known by requests alone
	return &pair{fade: f, trial: trial, told: map[string]bool{}}
}

// loadTrials reads the trials that an earlier leader has saved.
func (c *Crossfades) loadTrials() {
	c.mu.Lock()
	defer c.mu.Unlock()
	notes, err := c.Notes.Load(trialNotes)
	if err != nil {
		c.Log.Error("cannot read the evidence of cross-fades, which begins anew", "err", err)
	}
	for key, value := range notes {
		var r record
		if err := json.Unmarshal(value, &r); err != nil || r.Trial == nil || !r.Trial.Valid() {
			c.Log.Warn("the evidence of a cross-fade cannot be read, and begins anew", "key", key, "err", err)
			continue
		}
		host, path, _ := cutRoute(key[len(trialNotes):])
		c.saved[route{cloud.Host(host), path}] = r
	}
}

// cutRoute splits "HOST/PATH" before its first slash.
func cutRoute(s string) (host, path string, ok bool) {
	for i := range len(s) {
		if s[i] == '/' {
			return s[:i], s[i:], true
		}
	}
	return s, "", false
}

// saveTrials saves the trials of fades that have not been saved lately, all for force, and forgets those of fades that
// have ended.
func (c *Crossfades) saveTrials(force bool) {
	c.mu.Lock()
	now := c.Now()
	values := map[string][]byte{}
	for at, p := range c.pairs {
		if !begun(p.fade) || !force && now.Sub(p.saved) < saveEvery {
			continue
		}
		value, err := json.Marshal(record{p.fade.From, p.fade.To, p.fade.Started, p.trial})
		if err != nil {
			c.Log.Error("cannot save the evidence of a cross-fade", "host", string(at.host), "err", err)
			continue
		}
		values[at.note()], p.saved = value, now
		c.saved[at] = record{}
	}
	var gone []string
	for at := range c.saved {
		if p := c.pairs[at]; p == nil || !begun(p.fade) {
			gone = append(gone, at.note())
			delete(c.saved, at)
		}
	}
	c.mu.Unlock()
	if len(values) > 0 {
		if err := c.Notes.Save(values); err != nil {
			c.Log.Error("cannot save the evidence of cross-fades", "err", err)
		}
	}
	if len(gone) > 0 {
		if err := c.Notes.Forget(gone...); err != nil {
			c.Log.Error("cannot forget the evidence of cross-fades that have ended", "err", err)
		}
	}
}
