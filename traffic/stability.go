package traffic

import (
	"fmt"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Resources are the resources that a release's instances use, counted by their cgroups.
type Resources struct {
	CPU    time.Duration `json:"cpu"`    // of all instances, since the trial began
	Memory int64         `json:"memory"` // bytes used by the instance nearest to its limit
	Limit  int64         `json:"limit"`  // bytes that this instance may use; 0 if unknown
}

const (
	// full is the part of the limit from which an instance counts as out of memory.
	full = 0.95
	// fullFor is how long an instance must be full before the cross-fade is aborted.
	fullFor = time.Minute
	// The guard "memory" allows the fullest instance of the new release so much more than that of the old one.
	memoryMore  = 0.5
	memorySpare = 32 << 20
)

func (r Resources) isFull() bool { return r.Limit > 0 && float64(r.Memory) >= full*float64(r.Limit) }

// Use records the resources that both releases use now.
func (t *Trial) Use(old, new Resources, now time.Time) {
	t.Used.Old, t.Used.New = old, new
	switch {
	case !new.isFull() || old.isFull():
		t.FullSince = time.Time{}
	case t.FullSince.IsZero():
		t.FullSince = now
	}
	switch more := new.Memory > old.Memory+max(int64(memoryMore*float64(old.Memory)), memorySpare); {
	case !more || old.Memory == 0:
		t.MoreSince = time.Time{}
	case t.MoreSince.IsZero():
		t.MoreSince = now
	}
}

// outOfMemory describes that the new release has reached its memory limit, and the old one has not, or that it uses more
// than the guard "memory" allows; "" otherwise.
func (t *Trial) outOfMemory(guards []Guard) string {
	long := func(since time.Time) bool { return !since.IsZero() && t.at.Sub(since) >= fullFor }
	if long(t.FullSince) || long(t.MoreSince) && slices.Contains(guards, Memory) {
		return t.memoryText()
	}
	return ""
}

func (t *Trial) memoryText() string {
	u := t.Used
	return fmt.Sprintf("an instance uses %d of %d MB; before, it was %d of %d MB", u.New.Memory>>20, u.New.Limit>>20, u.Old.Memory>>20, u.Old.Limit>>20)
}

// PerRequest returns the processor time per request of the old and of the new release, with background work; 0 if
// unknown.
func (t *Trial) PerRequest() (old, new time.Duration) {
	per := func(cpu time.Duration, requests uint64) time.Duration {
		if requests == 0 {
			return 0
		}
		return cpu / time.Duration(requests)
	}
	return per(t.Used.Old.CPU, t.Totals.Old.Requests), per(t.Used.New.CPU, t.Totals.New.Requests)
}

// unstable describes that an instance of the new release keeps crashing, or ran out of memory, since the cross-fade began;
// "" otherwise, or if the old release does the same.
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
