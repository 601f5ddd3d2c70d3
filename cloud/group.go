package cloud

import (
	"time"
)

// Group owns apps and services.
type Group struct {
	Name    GroupName `json:"name"`
	Created time.Time `json:"created"`
	// Number is the group's for ever: its range of user ids and its side of the network's walls.
	Number uint32 `json:"number"`
}

// Key is "groups/NAME".
func (g *Group) Key() Key { return groupKey(g.Name) }

func (g *Group) touch(t *touched)  { t.all = true }
func (g *Group) indexes() []string { return nil }

func groupKey(n GroupName) Key { return Key("groups/" + string(n)) }

// Counter remembers the highest number that was given away, so that none is given twice.
type Counter struct {
	Name string `json:"name"`
	Last uint32 `json:"last"`
}

const groupCounter = "groups"

// Key is "counters/NAME".
func (c *Counter) Key() Key { return counterKey(c.Name) }

func (c *Counter) touch(*touched)    {}
func (c *Counter) indexes() []string { return nil }

func counterKey(name string) Key { return Key("counters/" + name) }

// MaxGroups is how many groups a cloud may ever have had: each has a range of user ids of its own.
const MaxGroups = 10_000

// MustGroup returns a group, or an error that a person can use.
func (s *State) MustGroup(n GroupName) (*Group, error) {
	g, ok := s.Group(n)
	if !ok {
		return nil, noGroup(n)
	}
	return g, nil
}

// noGroup is also what is said of a group that the caller may not see.
func noGroup(n GroupName) error {
	return Errorf(NotFound, "no group %q", string(n)).WithCommand("micro group list")
}

// CreateGroup returns the changes that make a group. Its number is one that no group ever had: files of a
// deleted group must not become those of a new one.
func (s *State) CreateGroup(n GroupName, at Stamp) ([]Change, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	if _, ok := s.Group(n); ok {
		return nil, Errorf(Conflict, "group %s exists already", n).WithCommand("micro group list")
	}
	if _, ok := s.App(AppRef{DefaultGroup, AppName(n)}); ok {
		return nil, Errorf(Conflict, "group name %q is that of an app in group %s", string(n), DefaultGroup).WithHint("choose another name: their addresses would be the same")
	}
	last := uint32(0)
	if c, ok := get[*Counter](s, counterKey(groupCounter)); ok {
		last = c.Last
	}
	for g := range s.Groups() {
		last = max(last, g.Number)
	}
	if last >= MaxGroups {
		return nil, Errorf(Conflict, "this cloud has had %d groups, and cannot have more", MaxGroups)
	}
	return []Change{Put(&Counter{Name: groupCounter, Last: last + 1}), Put(&Group{Name: n, Created: at.At, Number: last + 1})}, nil
}

// DeleteGroup returns the changes that remove a group with its quota and the roles in it. A group that owns
// apps, hosts or domains stays.
func (s *State) DeleteGroup(n GroupName) ([]Change, error) {
	g, err := s.MustGroup(n)
	if err != nil {
		return nil, err
	}
	if n == DefaultGroup {
		return nil, Errorf(Conflict, "group %s is always there", n).WithCommand("micro group list")
	}
	for app := range s.Apps(n) {
		return nil, Errorf(Conflict, "group %s owns app %s", n, app.AppRef).WithCommand("micro delete %s", app.AppRef)
	}
	for host := range s.VirtualHosts() {
		if host.Group == n {
			return nil, Errorf(Conflict, "group %s owns host %s", n, host.Host).WithCommand("micro unmap %s --release-host --group %s", host.Host, n)
		}
		if host.Login != nil && host.Login.Group == n {
			return nil, Errorf(Conflict, "host %s wants a log-in of group %s", host.Host, n).WithCommand("micro map APP %s --require-login --login-group OTHER", host.Host)
		}
	}
	for d := range s.PublicDomains() {
		if d.Group == n {
			return nil, Errorf(Conflict, "group %s owns domain %s", n, d.Name).WithCommand("micro domain remove %s --group %s", d.Name, n)
		}
	}
	for b := range s.AllBackups(n) {
		return nil, Errorf(Conflict, "group %s has backups of %s", n, b.AppRef).WithCommand("micro service delete-backup %s %s", b.AppRef, b.ID)
	}
	changes := []Change{Delete(g)}
	for grant := range s.Grants() {
		if grant.Group == n {
			changes = append(changes, Delete(grant))
		}
	}
	if q, ok := s.Quota(n); ok {
		changes = append(changes, Delete(q))
	}
	if s.RequiresApproval(n) {
		changes = append(changes, Delete(&Gate{n}))
	}
	for w := range s.Webhooks(n) {
		changes = append(changes, Delete(w))
	}
	changes = append(changes, s.forgetEgress(n, "")...)
	return append(changes, s.forgetTokensOf(n)...), nil
}
