package traffic

import (
	"fmt"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Readiness is whether the releases of a cross-fade can take requests.
type Readiness struct {
	// Up is true if every web instance of the new release is ready, in its current formation.
	Up bool
	// Gone is why the new release can't serve requests, or keeps crashing; "" if it serves or may still start.
	Gone string
	// Back is true if the old release can take the requests back.
	Back bool
}

// Inspect returns the readiness of a cross-fade's releases.
func Inspect(v cloud.View, f *cloud.Crossfade, now time.Time) Readiness {
	s := Readiness{Back: len(v.Pool(f.From)) > 0}
	rel, ok := v.State.Release(f.To)
	if !ok || !v.State.Runs(rel) {
		s.Gone = fmt.Sprintf("%s does not run", f.To)
		if ok && rel.Failure != nil {
			s.Gone = fmt.Sprintf("%s failed: %s", f.To, rel.Failure.Reason)
		}
		return s
	}
	ready, coming := 0, false // coming: one is there, or is about to be
	for _, i := range v.Pool(f.To) {
		coming = true
		if i.Generation == rel.Generation {
			ready++
		}
	}
	s.Up = ready >= max(1, rel.Formation[cloud.Web].Instances)
	for i := range v.Instances.OfRelease(f.To) {
		coming = coming || i.Process == cloud.Web && i.Phase.Live()
	}
	for n := range rel.Formation[cloud.Web].Instances {
		c, ok := v.Instances.Crashes(cloud.Slot{ReleaseRef: f.To, Process: cloud.Web, Index: n})
		if !ok || c.Generation != rel.Generation || !now.Before(c.NextTry) {
			coming = true // never crashed, or is tried again now
		} else if !coming {
			s.Gone = fmt.Sprintf("no instance of %s runs: %s", f.To, c.Reason)
		}
	}
	if coming {
		s.Gone = ""
	}
	if s.Gone == "" {
		s.Gone = unstable(v, f)
	}
	return s
}
