package traffic

import (
	"slices"
	"time"
)

// scales are how long the later comparisons of a course last, one after the other.
var scales = [...]time.Duration{time.Minute, 8 * time.Minute, 64 * time.Minute}

// Course is the comparison of two releases at one step. Beside what they did since it began it has what
// they did of late: after a good hour it would take minutes until errors weigh enough in the whole.
type Course struct {
	Began      time.Time
	old, fresh Sample // by then
	late       [len(scales)]late
}

// late is a comparison that began later, the nth of its scale.
type late struct {
	n          int
	at         time.Time
	old, fresh Sample // by then
}

// Stretch is what both releases did since some time.
type Stretch struct {
	// Nth says which comparison of a scale it is, from 1; 0 is the whole.
	Nth        int
	Began      time.Time
	Old, Fresh Sample
}

// Begin begins to compare releases that have done so much up to now.
func Begin(old, fresh Sample, now time.Time) *Course {
	return &Course{Began: now, old: old.since(Sample{}), fresh: fresh.since(Sample{})}
}

// Windows returns what the releases did by now, the whole first. It changes nothing.
func (c *Course) Windows(old, fresh Sample) []Stretch {
	all := []Stretch{{0, c.Began, old.since(c.old), fresh.since(c.fresh)}}
	for i := range c.late {
		if l := &c.late[i]; l.n > 0 {
			all = append(all, Stretch{l.n, l.at, old.since(l.old), fresh.since(l.fresh)})
		}
	}
	return all
}

// Renew begins the later comparisons anew that have lasted as long as they are to.
func (c *Course) Renew(old, fresh Sample, now time.Time) {
	for i := range c.late {
		l := &c.late[i]
		if n := int(now.Sub(c.Began) / scales[i]); n != l.n {
			*l = late{n, now, old.since(Sample{}), fresh.since(Sample{})} // the caller may count on in them
		}
	}
}

// alpha is the stretch's part of a course's. The whole has half of it. The other half is divided between the
// scales, and of each the nth comparison has 1/n(n+1), which is 1 in sum: however long the step takes.
func (s Stretch) alpha(of float64) float64 {
	if s.Nth == 0 {
		return of / 2
	}
	n := float64(s.Nth)
	return of / 2 / float64(len(scales)) / (n * (n + 1))
}

// since returns what was counted after an earlier look at the same; nothing where counting began anew.
func (s Sample) since(earlier Sample) Sample {
	out := Sample{Requests: less(s.Requests, earlier.Requests), Errors: less(s.Errors, earlier.Errors), Bounds: s.Bounds, Counts: slices.Clone(s.Counts)}
	for i := range min(len(s.Counts), len(earlier.Counts)) {
		out.Counts[i] = less(s.Counts[i], earlier.Counts[i])
	}
	return out
}

func less(a, b uint64) uint64 { return a - min(a, b) }
