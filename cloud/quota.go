package cloud

import (
	"fmt"
	"strings"
)

// Quota bounds what a group may use. A field that is 0 bounds nothing.
type Quota struct {
	Group       GroupName `json:"group"`
	Memory      int64     `json:"memory,omitempty"` // bytes, the sum of its instances' limits
	Instances   int       `json:"instances,omitempty"`
	Services    int       `json:"services,omitempty"`
	PublicHosts int       `json:"public_hosts,omitempty"`
}

// Key is "quotas/GROUP".
func (q *Quota) Key() Key { return quotaKey(q.Group) }

func (q *Quota) touch(*touched)    {}
func (q *Quota) indexes() []string { return nil }

func quotaKey(g GroupName) Key { return Key("quotas/" + string(g)) }

// Quota returns the group's quota; ok is false where it has none.
func (s *State) Quota(g GroupName) (*Quota, bool) { return get[*Quota](s, quotaKey(g)) }

// SetQuota returns the changes that give a group a quota in place of the one that it had. A quota below
// what the group uses is allowed: nothing is stopped, and nothing more may be asked for.
func (s *State) SetQuota(q Quota) ([]Change, error) {
	if _, err := s.MustGroup(q.Group); err != nil {
		return nil, err
	}
	if q.Memory < 0 || q.Instances < 0 || q.Services < 0 || q.PublicHosts < 0 {
		return nil, Errorf(Invalid, "a quota cannot be below 0").WithHint("0 is no limit")
	}
	was, ok := s.Quota(q.Group)
	switch {
	case !ok && q == (Quota{Group: q.Group}), ok && q == *was:
		return nil, nil
	case q == Quota{Group: q.Group}:
		return []Change{Delete(was)}, nil
	}
	return []Change{Put(&q)}, nil
}

// UsedBy returns what counts towards a group's quota: of each app the larger one of the current release and
// the one being switched to, and every other release that runs by itself. A release that is kept warm, or is
// being replaced, does not count, or no app could use more than half of a quota.
func (s *State) UsedBy(g GroupName) Quota {
	used := Quota{Group: g}
	for app := range s.Apps(g) {
		main := Formation{}
		for rel := range s.Releases(app.AppRef) {
			if !s.Runs(rel) || s.PhaseOf(rel) == PhaseWarm {
				continue
			}
			if rel.N == app.Current || app.switchesTo(rel.N) {
				main = largerOf(main, s.Wanted(rel))
				continue
			}
			used.add(s.Wanted(rel))
		}
		used.add(main)
	}
	for vhost := range s.VirtualHosts() {
		if vhost.Group == g && vhost.Exposure == ExposedPublic {
			used.PublicHosts++
		}
	}
	used.PublicHosts += s.sharedHosts(g)
	return used
}

// largerOf returns the one of two formations with more memory.
func largerOf(a, b Formation) Formation {
	if b.memory() > a.memory() || b.memory() == a.memory() && b.Instances() > a.Instances() {
		return b
	}
	return a
}

// memory is the sum of the instances' limits, in bytes.
func (f Formation) memory() (bytes int64) {
	for name, scale := range f {
		if name != ReleaseCommand {
			bytes += int64(scale.Instances) * scale.Memory
		}
	}
	return bytes
}

func (q *Quota) add(f Formation) {
	q.Memory += f.memory()
	q.Instances += f.Instances()
}

// CheckQuota reports, before anything is written, changes by which a group would use more than its quota.
// What a group uses already is left to it.
func (s *State) CheckQuota(changes []Change) error {
	groups := map[GroupName]bool{}
	for _, c := range changes {
		switch o := c.Object.(type) {
		case *App:
			groups[o.Group] = true
		case *Release:
			groups[o.Group] = true
		case *VirtualHost:
			groups[o.Group] = true
		case *Link:
			groups[o.Release.Group] = true
		}
	}
	var errs []error
	for _, g := range sortedKeys(groups) {
		if quota, ok := s.Quota(g); ok {
			errs = append(errs, s.checkQuota(quota, changes))
		}
	}
	return Join(errs...)
}

func (s *State) checkQuota(q *Quota, changes []Change) error {
	next := s.Apply(s.Rev()+1, changes)
	was, is := s.UsedBy(q.Group), next.UsedBy(q.Group)
	asked, per := next.asked(q.Group, changes)
	if q.Memory > 0 && is.Memory > q.Memory && is.Memory > was.Memory {
		return q.exceeded("asked %s of memory; %s left of %s", per, roughSize(max(0, q.Memory-is.Memory+asked.Memory)), roughSize(q.Memory))
	}
	if q.Instances > 0 && is.Instances > q.Instances && is.Instances > was.Instances {
		return q.exceeded("asked %d instances; %d left of %d", asked.Instances, max(0, q.Instances-is.Instances+asked.Instances), q.Instances)
	}
	if q.PublicHosts > 0 && is.PublicHosts > q.PublicHosts && is.PublicHosts > was.PublicHosts {
		return q.exceeded("asked %d public host; %d left of %d", is.PublicHosts-was.PublicHosts, max(0, q.PublicHosts-was.PublicHosts), q.PublicHosts)
	}
	return nil
}

// roughSize is a size for a person to reckon with: "2.5G".
func roughSize(n int64) string {
	const gib = 1 << 30
	if n > gib && n%gib != 0 {
		return fmt.Sprintf("%.1fG", float64(n)/gib)
	}
	return FormatSize(n)
}

func (q *Quota) exceeded(format string, args ...any) error {
	return Errorf(Conflict, "the quota of group %s: %s", q.Group, fmt.Sprintf(format, args...)).WithCommand("micro quota show %s", q.Group)
}

// asked sums up the releases that a change makes run or grow, as a figure and as a person asks for it:
// "6 × 1G". The quota that is left is what is left beside them.
func (s *State) asked(g GroupName, changes []Change) (sum Quota, text string) {
	var parts []string
	for _, c := range changes {
		rel, ok := c.Object.(*Release)
		if !ok || rel.Group != g || !s.Runs(rel) || s.PhaseOf(rel) == PhaseWarm {
			continue
		}
		wanted := s.Wanted(rel)
		sum.add(wanted)
		for _, name := range sortedKeys(wanted) {
			if scale := wanted[name]; name != ReleaseCommand && scale.Instances > 0 {
				parts = append(parts, fmt.Sprintf("%d × %s", scale.Instances, FormatSize(scale.Memory)))
			}
		}
	}
	return sum, strings.Join(parts, " + ")
}
