package traffic

import (
	"fmt"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Resources is what a release's instances use, as their cgroups count it.
type Resources struct {
	CPU    time.Duration `json:"cpu"`    // of all of them, since the trial began
	Memory int64         `json:"memory"` // bytes, of the one that uses most of its limit
	Limit  int64         `json:"limit"`  // of that one; 0 is not known
}

const (
	// full is the part of its limit from which an instance is about to run out of memory.
	full = 0.95
	// fullFor is how long it must be so before that decides.
	fullFor = time.Minute
)

func (r Resources) isFull() bool { return r.Limit > 0 && float64(r.Memory) >= full*float64(r.Limit) }

// Use notes what both releases use now.
func (t *Trial) Use(old, new Resources, now time.Time) {
	t.Used.Old, t.Used.New = old, new
	switch {
	case !new.isFull() || old.isFull():
		t.FullSince = time.Time{}
	case t.FullSince.IsZero():
		t.FullSince = now
	}
}

// outOfMemory says in words that the new release fills its memory, which the old one does not; "" where that is not so.
func (t *Trial) outOfMemory() string {
	if t.FullSince.IsZero() || t.at.Sub(t.FullSince) < fullFor {
		return ""
	}
	u := t.Used
	return fmt.Sprintf("an instance uses %d MB of the %d MB that it may, before %d MB of %d MB", u.New.Memory>>20, u.New.Limit>>20, u.Old.Memory>>20, u.Old.Limit>>20)
}

// PerRequest is how much processor time a request took at the old and at the new release, background work included; 0
// is not known.
func (t *Trial) PerRequest() (old, new time.Duration) {
	per := func(cpu time.Duration, requests uint64) time.Duration {
		if requests == 0 {
			return 0
		}
		return cpu / time.Duration(requests)
	}
	return per(t.Used.Old.CPU, t.Totals.Old.Requests), per(t.Used.New.CPU, t.Totals.New.Requests)
}

// unstable says in words that an instance of the new release crashes again and again, or ran out of memory, since the fade
// has begun; "" where that is not so, or where the old release does the same.
func unstable(v cloud.View, f *cloud.Crossfade) string {
	of := func(r cloud.ReleaseRef) string {
		rel, ok := v.State.Release(r)
		if !ok {
			return ""
		}
		for n := range rel.Formation[cloud.Web].Instances {
			c, ok := v.Instances.Crashes(cloud.Slot{ReleaseRef: r, Process: cloud.Web, Index: n})
			switch {
			case !ok || c.Generation != rel.Generation || !c.Last.At.After(f.Started):
			case c.Last.OOM:
				return fmt.Sprintf("instance %s %s", c.Slot, c.Last.Describe(c.Reason))
			case c.Count >= cloud.Flapping:
				return fmt.Sprintf("instance %s has crashed %d times in a row: %s", c.Slot, c.Count, c.Last.Describe(c.Reason))
			}
		}
		return ""
	}
	if of(f.From) != "" {
		return ""
	}
	return of(f.To)
}
