package api

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// Crossfading asks for a cross-fade of a route, or for a cutover: one step to everything, without guards.
type Crossfading struct {
	Host    string             `json:"host" minLength:"1" maxLength:"254"`
	Path    string             `json:"path,omitempty" maxLength:"2048"`
	App     cloud.AppName      `json:"app"`
	Release int                `json:"release,omitempty" doc:"Missing: whatever is current"`
	Steps   []int              `json:"steps,omitempty" maxItems:"100" doc:"Percent, rising to 100; missing: micro chooses them by the host's traffic"`
	Budget  *int               `json:"budget,omitempty" doc:"How many requests a bad release may harm before the traffic is back; missing: 20"`
	Over    cloud.Duration     `json:"over,omitempty" doc:"From the first step to the end, at least, for example 10m; missing: 5m, and 10m with steps"`
	Guards  []string           `json:"guards,omitempty" doc:"errors, latency, cpu, memory, logs, or none alone; missing: errors and latency. With any of them the counters that the release names are guarded too"`
	Unit    cloud.Unit         `json:"unit,omitempty" enum:"request,client" doc:"What counts once; missing: a request. A client on sticky routes alone"`
	Errors  *float64           `json:"errors_margin,omitempty" doc:"How much larger the share of errors may be, 0 to 1; missing: 0.005"`
	Latency *float64           `json:"latency_margin,omitempty" doc:"How much longer the 95th percentile may be; missing: 0.2, a fifth"`
	Max     cloud.Duration     `json:"max,omitempty" doc:"How long to wait for evidence at most; missing: 30m"`
	Then    cloud.Inconclusive `json:"on_inconclusive,omitempty" enum:"hold,abort,go" doc:"What comes after that where there is some sign of harm; missing: abort"`
	Cutover bool               `json:"cutover,omitempty" doc:"Everything at once, as soon as the instances are ready"`
	Force   bool               `json:"force,omitempty" doc:"Also to a release that was superseded"`
	// Rebind has the release that is moved to use other services.
	Rebind map[cloud.AppName]cloud.AppName `json:"rebind,omitempty" doc:"The service to use instead of each: a release with these bindings is made from the given one, and moved to"`
}

// Fading names a cross-fade that is under way.
type Fading struct {
	Host string `json:"host" minLength:"1" maxLength:"254"`
	Path string `json:"path,omitempty" maxLength:"2048"`
}

// Comparison is what the releases of a route did at the same time.
type Comparison struct {
	Host     cloud.Host `json:"host"`
	Path     string     `json:"path"`
	Since    time.Time  `json:"since" doc:"When counting began: the start of the node that has counted longest. What was before is lost, for all releases alike"`
	Until    time.Time  `json:"until"`
	Releases []Compared `json:"releases" nullable:"false"`
	// Missing are routers that ended without a word, or do not answer.
	Missing []MissingCounts `json:"uncounted,omitempty" doc:"Routers whose last counts are in no figure: nodes that were lost, or do not answer"`
	Mirrors []Mirrored      `json:"mirrors,omitempty" doc:"What became of copies of requests"`
	Fade    *Crossfade      `json:"crossfade,omitempty" doc:"The cross-fade that is under way"`
	Faded   *Faded          `json:"faded,omitempty" doc:"How the last one ended"`
	Step    *FadeStep       `json:"judgement,omitempty" doc:"The judgement of the cross-fade so far, or of two targets without one"`
}

// Crossfade is a cross-fade that is under way.
type Crossfade struct {
	From           ReleaseName        `json:"old" doc:"The release that the route had"`
	To             ReleaseName        `json:"new" doc:"The release that it moves to"`
	Steps          []int              `json:"steps,omitempty" doc:"Shares of the new release in percent, rising to 100; missing: micro chooses them"`
	Step           int                `json:"step" doc:"How many steps have been taken; 0: the new release gets no requests yet"`
	Share          float64            `json:"share" doc:"Percent of the requests that the new release has now"`
	Started        time.Time          `json:"started"`
	First          *time.Time         `json:"first,omitempty" doc:"When the new release got its first share"`
	Since          time.Time          `json:"since" doc:"When the present step began"`
	Paused         bool               `json:"paused,omitempty"`
	By             string             `json:"by,omitempty" doc:"Who started it"`
	MovedBy        string             `json:"moved_by,omitempty" doc:"Who took its last step, or paused or resumed it"`
	Reason         string             `json:"reason,omitempty" doc:"Why its last step was taken"`
	Over           cloud.Duration     `json:"over" doc:"From the first share to the end, at least"`
	Budget         int                `json:"budget,omitempty" doc:"How many requests a bad release may harm"`
	Guards         []string           `json:"guards,omitempty" doc:"What the new release must not be worse at: errors, latency, cpu, memory, logs"`
	Unit           cloud.Unit         `json:"unit,omitempty" doc:"What counts once: a request (missing), or a client"`
	Errors         float64            `json:"errors_margin" doc:"How much larger the share of errors may be, 0 to 1"`
	Latency        float64            `json:"latency_margin" doc:"How much longer the 95th percentile may be; 0.2 is a fifth"`
	Max            cloud.Duration     `json:"max" doc:"How long to wait for evidence at most"`
	OnInconclusive cloud.Inconclusive `json:"on_inconclusive" enum:"hold,abort,go" doc:"What comes after that where there is some sign of harm"`
	Before         []WeightedRelease  `json:"before" nullable:"false" doc:"The targets that an abort brings back"`
}

// Faded is how the last cross-fade of a route ended.
type Faded struct {
	From     ReleaseName `json:"old"`
	To       ReleaseName `json:"new"`
	Ended    time.Time   `json:"ended"`
	Finished bool        `json:"finished" doc:"The route has moved to the new release; else it has the targets from before"`
	Reason   string      `json:"reason,omitempty" doc:"Why it went back, or why its last step was taken"`
	Share    float64     `json:"share" doc:"Percent of the requests that the new release had at the end"`
	By       string      `json:"by" doc:"Who ended it; micro: a verdict did"`
}

// CrossfadeOf is a cross-fade as the API shows it, nil for nil.
func CrossfadeOf(f *cloud.Crossfade) *Crossfade {
	if f == nil {
		return nil
	}
	out := &Crossfade{
		From: NameOf(f.From), To: NameOf(f.To), Steps: f.Steps, Step: f.Step, Share: f.Share(), Started: f.Started, Since: f.Since, Paused: f.Paused,
		By: f.By, MovedBy: f.MovedBy, Reason: f.Reason, Over: f.Over, Budget: f.Budget, Guards: f.Guards, Unit: f.Unit, Errors: f.Errors, Latency: f.Latency, Max: f.Max,
		OnInconclusive: f.OnInconclusive, Before: []WeightedRelease{},
	}
	if !f.First.IsZero() {
		out.First = &f.First
	}
	for _, t := range f.Before {
		w := WeightedRelease{ReleaseName: NameOf(t.ReleaseRef)}
		if t.Weighted {
			w.Weight = &t.Weight
		}
		out.Before = append(out.Before, w)
	}
	return out
}

// FadedOf is the end of a cross-fade as the API shows it, nil for nil.
func FadedOf(f *cloud.Faded) *Faded {
	if f == nil {
		return nil
	}
	return &Faded{From: NameOf(f.From), To: NameOf(f.To), Ended: f.Ended, Finished: f.Finished, Reason: f.Reason, Share: f.Share, By: f.By}
}

// Compared is what one release did on the route.
type Compared struct {
	ReleaseName
	// Share is a fraction of percent too: of weights 2 and 1 the latter is 33.3 %.
	Share    *float64    `json:"share,omitempty" doc:"Percent of the requests that it is to have; missing: as its ready instances come to, or none any more"`
	Ready    int         `json:"ready" doc:"Instances that requests may go to"`
	Requests uint64      `json:"requests"`
	Rate     float64     `json:"rate" doc:"Requests a second since counting began"`
	Gone     uint64      `json:"gone,omitempty" doc:"Of the requests: their clients went away before they had their answer"`
	Errors   uint64      `json:"errors" doc:"Of the requests: answered with 5xx, or not properly"`
	P50      float64     `json:"p50_ms" doc:"Milliseconds until the answer's head that 50 % did not exceed"`
	P95      float64     `json:"p95_ms"`
	P99      float64     `json:"p99_ms"`
	Minute   *LastMinute `json:"last_minute,omitempty" doc:"Of the requests: what came in the last minute"`
	CPU      float64     `json:"cpu" doc:"Seconds of processor time of its running instances since they started"`
	Memory   int64       `json:"memory" doc:"Bytes that its running instances use"`
}

// Mirrored is what became of the copies that a release got.
type Mirrored struct {
	ReleaseName
	Answered    uint64  `json:"answered"`
	Differ      uint64  `json:"differ" doc:"Of those that were answered: with another status than the original"`
	Failed      uint64  `json:"failed" doc:"Got no answer"`
	Dropped     uint64  `json:"dropped" doc:"Were not sent, because too many were under way"`
	OriginalP95 float64 `json:"original_p95_ms" doc:"Milliseconds until the original's head that 95 % did not exceed"`
	P95         float64 `json:"p95_ms" doc:"The same of the copies"`
}

// FadeStep is the judgement of a cross-fade so far, or of two targets since they have the weights that they have.
type FadeStep struct {
	From    ReleaseName `json:"old" doc:"The release that was there first"`
	To      ReleaseName `json:"new" doc:"The one that is compared with it"`
	Since   time.Time   `json:"since"`
	Old     uint64      `json:"old_requests"`
	New     uint64      `json:"new_requests"`
	Verdict string      `json:"verdict" enum:"worse,no worse,no sign of harm,inconclusive"`
	// Odds are the evidence of harm.
	Odds       float64 `json:"odds" doc:"Evidence of harm as odds against chance: at 200 the traffic goes back"`
	MoreErrors float64 `json:"more_errors" doc:"How much larger the share of errors may be at most, with 95 % probability; 1: not known"`
	MoreSlow   float64 `json:"more_slow" doc:"The same for slow requests"`
	Cost       float64 `json:"cost" doc:"Requests that failed or were slow because of the new release, about"`
	Budget     int     `json:"budget,omitempty" doc:"How many of them there may be"`
	Rate       float64 `json:"rate" doc:"Requests a second of the host; 0: not known yet"`
	Through    float64 `json:"through,omitempty" doc:"Seconds until the cross-fade is through if the new release is good, about"`
	Caught     int     `json:"caught,omitempty" doc:"How many requests a release that fails 5 % would harm until the traffic is back, about"`
	Proof      float64 `json:"proof" doc:"How much of the evidence for no worse is there, 0 to 1"`
	Missing    float64 `json:"missing_requests,omitempty" doc:"About how many more requests a good release must answer until it is no worse; missing: none, or more than can be said"`
	Abort      string  `json:"abort,omitempty" doc:"What micro crossfade abort would do now"`
	// Present is the present step alone.
	Present  *PresentStep  `json:"present,omitempty" doc:"What both releases did in the present step"`
	Findings []FadeFinding `json:"findings" nullable:"false"`
	Move     string        `json:"move" enum:"stay,hold,advance,abort" doc:"What comes of it now"`
	Why      string        `json:"why"`
}

// PresentStep is what both releases of a cross-fade did in its present step.
type PresentStep struct {
	Since time.Time        `json:"since"`
	Old   cloud.FadeCounts `json:"old_counts"`
	New   cloud.FadeCounts `json:"new_counts"`
	// Builds are what the releases are made from.
	OldBuild Build `json:"old_build"`
	NewBuild Build `json:"new_build"`
}

// Build is what a release is made from.
type Build struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
	Commit string `json:"commit,omitempty" doc:"The image's label org.opencontainers.image.revision"`
}

// FadeFinding is the verdict of one guard.
type FadeFinding struct {
	Guard   string `json:"guard" doc:"errors, latency, cpu, memory, logs, answers, shares, clients, or metric and its name"`
	Verdict string `json:"verdict" enum:"worse,no worse,no sign of harm,inconclusive"`
	Text    string `json:"text"`
}

// PassRequest asks for a pass.
type PassRequest struct {
	Host    string         `json:"host" minLength:"1" maxLength:"254"`
	App     cloud.AppName  `json:"app"`
	Release int            `json:"release" minimum:"1"`
	For     cloud.Duration `json:"for,omitempty" doc:"How long it stays valid, at most 720h; missing: 1h"`
}

// Pass lets a public client choose a release of a host: it is sent as the value of the header.
type Pass struct {
	Header string    `json:"header"`
	Value  string    `json:"value"`
	Until  time.Time `json:"until"`
}
