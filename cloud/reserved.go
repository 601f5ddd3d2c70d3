package cloud

import (
	"net/netip"
	"strings"
)

// checkHost reports why a host may not be mapped: it is an IP address, or it has a meaning of its own. The
// addresses that the private domain gives to apps, releases and the API belong to them.
func (s *State) checkHost(host Host) error {
	if _, err := netip.ParseAddr(string(host)); err == nil || endsInNumber(string(host)) {
		return Errorf(Invalid, "host %s is an IP address, and routes go by names", host).WithHint("choose a name, for example www.example.com")
	}
	if host == "localhost" || strings.HasSuffix(string(host), ".localhost") {
		return Errorf(Invalid, "host %s cannot be mapped: APP.localhost already routes to every app, for clients on this machine", host).
			WithHint("choose a host that is not below localhost")
	}
	taken := func(by string) error {
		return Errorf(Conflict, "host %s is the address of %s", host, by).WithHint("choose another host")
	}
	d := s.Settings().Domain
	if d == "" || !d.Contains(host) {
		return nil
	}
	if host == d.API() || string(host) == string(d) {
		return taken("the API")
	}
	if parent, wild := strings.CutPrefix(string(host), "*."); wild {
		// A public route for it would give the public an answer for internal names.
		if parent == string(d) {
			return taken("every app of the domain")
		}
		if group, ok := strings.CutSuffix(parent, "."+string(d)); ok {
			if _, ok := s.Group(GroupName(group)); ok {
				return taken("every app of group " + group)
			}
		}
		return nil
	}
	ref, ok := s.OwnerOf(host)
	switch {
	case ok && ref.N == 0:
		return taken("app " + ref.String())
	case ok:
		return taken("release " + ref.String())
	}
	return nil
}

// OwnerOf returns the app, or the release, whose own address in the private domain a host is.
func (s *State) OwnerOf(host Host) (ReleaseRef, bool) {
	d := s.Settings().Domain
	for _, ref := range d.Parse(host) {
		if ref.N == 0 {
			if app, ok := s.App(ref.AppRef); ok && app.Service == nil {
				return ref, true
			}
			continue
		}
		if rel, ok := s.Release(ref); ok && d.Release(ref, rel.Created) == host && s.notService(ref.AppRef) == nil {
			return ref, true
		}
	}
	return ReleaseRef{}, false
}

// checkRoutes reports why a manifest's routes may not be mapped for an app, or that the address which a new
// app would get is mapped to something else. The app's own address may be among the routes.
func (s *State) checkRoutes(app AppRef, routes []RouteSpec) error {
	own := s.Settings().Domain.App(app)
	if _, known := s.App(app); !known {
		if _, mapped := s.VirtualHost(own); mapped {
			return Errorf(Conflict, "app %s would have the address %s, which is mapped to something else", app, own).
				WithHint("micro unmap %s --release-host, or choose another name with --app", own)
		}
	}
	for _, r := range routes {
		if r.Host == own {
			continue
		}
		if err := s.checkHost(r.Host); err != nil {
			return err
		}
	}
	return nil
}

// endsInNumber reports a name that browsers and libraries read as an IPv4 address: its last label is a number,
// such as 2130706433 or 0x7f.1 (URL Standard, section 3.5).
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	if isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
