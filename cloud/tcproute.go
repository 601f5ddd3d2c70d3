package cloud

import (
	"slices"
	"strconv"
	"strings"
)

// A port stands for a host where bytes are passed on without a look at them: its name is "tcp:5433", and weights,
// cross-fades, owner and exposure are as of any other. A host whose TLS is passed on is found by the name that a client
// asks for in its first bytes (SNI), and its bytes are passed on alike.

const portPrefix = "tcp:"

// PortHost returns the host that stands for a TCP port.
func PortHost(port uint16) Host { return Host(portPrefix + strconv.Itoa(int(port))) }

// Port returns the TCP port that a host stands for, 0 for a name.
func (h Host) Port() uint16 {
	text, ok := strings.CutPrefix(string(h), portPrefix)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0
	}
	return uint16(n)
}

// ParseRouteHost reads what a route may be of, as a person writes it: a host, or tcp:PORT.
func ParseRouteHost(s string) (Host, error) {
	if !strings.HasPrefix(s, portPrefix) {
		return ParseHost(s)
	}
	if h := Host(s); h.Port() != 0 {
		return h, nil
	}
	return "", Errorf(Invalid, "%q is not a TCP port", s).WithHint("write it as tcp:5433, from 1 to 65535")
}

// PassesBytes reports whether connections of the host are passed on as they are.
func (s *VirtualHost) PassesBytes() bool { return s.Passthrough || s.Host.Port() != 0 }

// checkBytes reports what a host asks for that needs a look at requests, where it has none.
func (s *VirtualHost) checkBytes() error {
	what := "connections of " + string(s.Host) + " are passed on as they are"
	switch {
	case s.Passthrough && s.Host.Port() != 0:
		return Errorf(Invalid, "%s is a port: all of its bytes are passed on anyway", s.Host).WithHint("leave out --passthrough")
	case !s.PassesBytes():
		if slices.ContainsFunc(s.Routes, func(r Route) bool { return r.ProxyProtocol }) {
			return Errorf(Invalid, "%s is asked by HTTP, which says who the client is by X-Forwarded-For", s.Host).WithHint("leave out --proxy-protocol, or add --passthrough")
		}
		return nil
	case s.TLS != nil:
		return Errorf(Invalid, "%s: their TLS is the app's", what).WithHint("leave out --https-only, --hsts and --client-ca")
	case s.Login != nil:
		return Errorf(Invalid, "%s: nobody can log in there", what).WithHint("leave out --require-login")
	}
	for _, r := range s.Routes {
		switch {
		case r.Path != "/":
			return Errorf(Invalid, "%s: they have no path %s", what, r.Path).WithHint("leave out the path")
		case r.Sticky != nil && r.Sticky.By != StickyClient:
			return Errorf(Invalid, "%s: clients are known by their address alone", what).WithHint("--sticky client")
		case r.Headers:
			return Errorf(Invalid, "%s: they have no headers", what).WithHint("leave out --headers")
		case r.Mirror != nil:
			return Errorf(Invalid, "%s: nothing of them can be copied", what).WithHint("leave out --mirror")
		}
		for _, rule := range r.Rules {
			if rule.When.By == WhenHeader || rule.When.By == WhenCookie {
				return Errorf(Invalid, "%s: rules go by addresses and percent alone", what).WithHint("for example --when 'address 192.0.2.0/24'")
			}
		}
	}
	return nil
}
