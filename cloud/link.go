package cloud

import (
	"iter"
	"time"
)

// LinkID names a link. It is no secret.
type LinkID string

// Link lets whoever has its address look at a release from outside, until it expires or is revoked. Nothing else
// that is internal becomes reachable by it.
type Link struct {
	ID LinkID `json:"id"`
	// Release is what the link opens: whatever is current for N 0.
	Release ReleaseRef `json:"release"`
	// Host is the host that the link opens the release at: the release's own address, or a public host of the group.
	Host    Host      `json:"host"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"`
}

// Key is "links/ID".
func (l *Link) Key() Key { return linkKey(l.ID) }

func (l *Link) touch(*touched)    {}
func (l *Link) indexes() []string { return nil }

func linkKey(id LinkID) Key { return Key("links/" + string(id)) }

// Links yields all links by ID, also those that have expired.
func (s *State) Links() iter.Seq[*Link] { return all[*Link](s, "links/") }

// Link returns a link, or an error that a person can use. A link of another group is as unknown as one that does
// not exist.
func (s *State) Link(g GroupName, id LinkID) (*Link, error) {
	if l, ok := get[*Link](s, linkKey(id)); ok && l.Release.Group == g {
		return l, nil
	}
	return nil, Errorf(NotFound, "no link %q", string(id)).WithCommand("micro share list --group %s", g)
}

// Opens reports whether a link opens anything now: its host may have become another group's, or internal, since.
func (s *State) Opens(l *Link) bool {
	if vhost, ok := s.VirtualHost(l.Host); ok {
		return vhost.Group == l.Release.Group && vhost.Exposure == ExposedPublic
	}
	owner, ok := s.OwnerOf(l.Host)
	return ok && owner.AppRef == l.Release.AppRef
}

const (
	// MaxLinkLife is how long a link may be good for.
	MaxLinkLife = 30 * 24 * time.Hour
	// maxLinks is how many links a group may have at a time.
	maxLinks = 100
)

// Share returns the changes that make a link, and drop the group's links that have expired. host is a public host of
// the group, "" for the release's own address.
func (s *State) Share(r ReleaseRef, host Host, id LinkID, expires time.Time, at Stamp) ([]Change, error) {
	_, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	if !s.Runs(rel) {
		return nil, Errorf(Conflict, "release %s does not run", rel.ReleaseRef).WithCommand("micro start %s", rel.ReleaseRef)
	}
	if life := expires.Sub(at.At); life <= 0 || life > MaxLinkLife {
		return nil, Errorf(Invalid, "a link is good for more than nothing and at most %d days", int(MaxLinkLife.Hours()/24)).WithCommand("micro share %s --for 48h", r)
	}
	switch vhost, ok := s.VirtualHost(host); {
	case host != "" && (!ok || vhost.Group != r.Group || vhost.Exposure != ExposedPublic):
		return nil, Errorf(Conflict, "%s is not a public host of group %s", host, r.Group).WithCommand("micro map %s %s --public", r.AppRef, host)
	case host == "" && r.N == 0:
		host = s.Settings().Domain.App(r.AppRef)
	case host == "":
		host = s.Settings().Domain.Release(r, rel.Created)
	}
	changes := []Change{Put(&Link{ID: id, Release: r, Host: host, Created: at.At, By: at.By, Expires: expires})}
	kept := 0
	for l := range s.Links() {
		switch {
		case l.Release.Group != r.Group:
		case l.Expires.After(at.At):
			kept++
		case len(changes) < maxDropped:
			changes = append(changes, Delete(l))
		}
	}
	if kept >= maxLinks {
		return nil, Errorf(Conflict, "group %s has %d links, and cannot have more", r.Group, maxLinks).WithCommand("micro share list --group %s", r.Group)
	}
	return changes, nil
}

// Unshare returns the changes that revoke a link.
func (s *State) Unshare(g GroupName, id LinkID) ([]Change, error) {
	l, err := s.Link(g, id)
	if err != nil {
		return nil, err
	}
	return []Change{Delete(l)}, nil
}

// forgetLinks returns the changes that drop the links to a release, or to any of an app for N 0.
func (s *State) forgetLinks(r ReleaseRef) (changes []Change) {
	for l := range s.Links() {
		if l.Release == r || r.N == 0 && l.Release.AppRef == r.AppRef {
			changes = append(changes, Delete(l))
		}
	}
	return changes
}

// sharedHosts is how many hosts of a group the public reaches by links alone.
func (s *State) sharedHosts(g GroupName) int {
	hosts := map[Host]bool{}
	for l := range s.Links() {
		if vhost, ok := s.VirtualHost(l.Host); l.Release.Group == g && (!ok || vhost.Exposure != ExposedPublic) {
			hosts[l.Host] = true
		}
	}
	return len(hosts)
}
