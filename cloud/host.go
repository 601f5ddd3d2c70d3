package cloud

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Exposure says which listeners a host answers on.
type Exposure string

// The exposures. A public host answers on the internal listeners too.
const (
	ExposedInternal Exposure = "internal"
	ExposedPublic   Exposure = "public"
)

// VirtualHost is a mapped host name and the routes under it. Owner and exposure belong to the host, not to its
// routes. One without routes is kept by its owner and answers 503.
type VirtualHost struct {
	Host     Host      `json:"host"`
	Group    GroupName `json:"group"`
	Exposure Exposure  `json:"exposure"`
	Created  time.Time `json:"created"`
	Routes   []Route   `json:"routes"` // longer paths first
	TLS      *HostTLS  `json:"tls,omitempty"`
	// Login is who may see the host, nil for anybody who reaches it.
	Login *HostLogin `json:"login,omitempty"`
	// Passthrough leaves TLS to the app: connections for the host are passed on as they are.
	Passthrough bool `json:"passthrough,omitempty"`
	// Hold has its new requests wait, nil for none.
	Hold *HostHold `json:"hold,omitempty"`
}

// Key is "hosts/HOST".
func (s *VirtualHost) Key() Key { return virtualHostKey(s.Host) }

func virtualHostKey(h Host) Key { return Key("hosts/" + string(h)) }

// touch names the apps too: a route may be what keeps a release running, whose own address comes or goes
// with it.
func (s *VirtualHost) touch(t *touched) {
	t.hosts[s.Host] = true
	for app := range s.Apps() {
		t.named[app] = true
	}
}

func (s *VirtualHost) indexes() (prefixes []string) {
	for app := range s.Apps() {
		prefixes = append(prefixes, targetIndex(app))
	}
	return prefixes
}

// targetIndex finds the virtual hosts that have a route to an app.
func targetIndex(r AppRef) string { return "target/" + string(r.Group) + "/" + string(r.App) + "/" }

// Apps yields every app that a route of the host leads to: by its targets, its rules, its mirror and its cross-fade.
func (s *VirtualHost) Apps() iter.Seq[AppRef] {
	return func(yield func(AppRef) bool) {
		for _, r := range s.Routes {
			for ref := range r.refs() {
				if !yield(ref.AppRef) {
					return
				}
			}
		}
	}
}

// Route routes a path of a host, and all below it, to weighted targets.
type Route struct {
	Path      string     `json:"path"` // "/" or "/a/b", no slash at the end
	Targets   []Target   `json:"targets"`
	Rules     []Rule     `json:"rules,omitempty"` // the first that matches counts
	Sticky    *Sticky    `json:"sticky,omitempty"`
	Mirror    *Mirror    `json:"mirror,omitempty"`
	Crossfade *Crossfade `json:"crossfade,omitempty"`
	// Faded is how the last cross-fade of the route ended.
	Faded *Faded `json:"faded,omitempty"`
	// Headers adds X-Micro-Release and X-Micro-Instance to answers.
	Headers bool `json:"headers,omitempty"`
	// ProxyProtocol tells the app of a host whose bytes are passed on who the client is, by a header of the PROXY
	// protocol (version 2) before each connection's first byte.
	ProxyProtocol bool `json:"proxy_protocol,omitempty"`
	// Limits are the route's own.
	Limits Limits `json:"limits,omitzero"`
}

// refs yields every release that the route names, some more than once.
func (r *Route) refs() iter.Seq[ReleaseRef] {
	return func(yield func(ReleaseRef) bool) {
		for _, t := range r.Targets {
			if !yield(t.ReleaseRef) {
				return
			}
		}
		for _, rule := range r.Rules {
			if !yield(rule.To) {
				return
			}
		}
		if r.Mirror != nil && !yield(r.Mirror.To) {
			return
		}
		if c := r.Crossfade; c != nil && yield(c.From) {
			yield(c.To)
		}
	}
}

// Target is a release that a route names, or whatever is current where N is 0.
type Target struct {
	ReleaseRef
	// Weighted targets take Weight: relative to each other where all of a route's targets are weighted,
	// percent otherwise. The others share the rest by their ready instances.
	Weighted bool `json:"weighted,omitempty"`
	Weight   int  `json:"weight,omitempty"`
}

// StickyBy says what a client is known by.
type StickyBy string

// The ways to know a client again.
const (
	StickyCookie StickyBy = "cookie"
	StickyHeader StickyBy = "header"
	StickyClient StickyBy = "client" // its address
)

// Sticky keeps a client with its release.
type Sticky struct {
	By     StickyBy `json:"by"`
	Header string   `json:"header,omitempty"` // the header's name, for StickyHeader
}

// ParseSticky reads "cookie", "client", "header:NAME", or "none" for a Sticky whose By is empty.
func ParseSticky(s string) (*Sticky, error) {
	by, name, named := strings.Cut(s, ":")
	switch k := StickyBy(by); {
	case s == "none":
		return &Sticky{}, nil
	case k == StickyHeader && name != "" && !strings.ContainsAny(name, " :\r\n\t"), !named && (k == StickyCookie || k == StickyClient):
		return &Sticky{By: k, Header: name}, nil
	}
	return nil, Errorf(Invalid, "sticky %q is not one of cookie, client, header:NAME, none", s).WithHint("for example --sticky cookie")
}

// Mirror sends copies of safe requests to a release and throws the answers away.
type Mirror struct {
	To      ReleaseRef `json:"to"`
	Percent int        `json:"percent"` // 1 to 100
}

// Route returns the route of exactly this path.
func (s *VirtualHost) Route(path string) (*Route, bool) {
	for i := range s.Routes {
		if s.Routes[i].Path == path {
			return &s.Routes[i], true
		}
	}
	return nil, false
}

// With returns a copy of the vhost in which r takes the place of the route with its path.
func (s *VirtualHost) With(r Route) *VirtualHost {
	c := s.Without(r.Path)
	c.Routes = append(c.Routes, r)
	slices.SortFunc(c.Routes, func(a, b Route) int {
		if d := len(b.Path) - len(a.Path); d != 0 {
			return d
		}
		return strings.Compare(a.Path, b.Path)
	})
	return c
}

// Without returns a copy of the vhost without the route of the path.
func (s *VirtualHost) Without(path string) *VirtualHost {
	c := *s
	c.Routes = slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return r.Path == path })
	return &c
}

// ParsePath reads a route's path: "" and "/" are the root.
func ParsePath(s string) (string, error) {
	p := "/" + strings.Trim(s, "/")
	for seg := range strings.SplitSeq(p[1:], "/") {
		if seg == "." || seg == ".." || seg == "" && p != "/" || strings.ContainsAny(seg, "?#%\\ \x00") {
			return "", Errorf(Invalid, "path %q is not a route's path", s).WithHint("write plain segments, for example /api/v2")
		}
	}
	return p, nil
}
