package handler

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Probe is a request that somebody thinks of sending.
type Probe struct {
	Scheme string
	Host   string // without port, in lower case
	Port   uint16
	Target string // path and query
	From   netip.Addr
	// AssumeDNS has the host's name count as one of the node's addresses.
	AssumeDNS bool
	// Fields are of its header, as "Name: value".
	Fields []string
}

// Trace is what the parts of a node see of a probe.
type Trace struct {
	Client    string // what the client is: "this machine", "a container", "the local network", "outside"
	Local     bool   // the client may use internal listeners
	Name      Naming
	Resolver  Naming // what this machine's own resolver says
	Own       []netip.Addr
	Listeners []Listener
	// Internal and Public are what the routers' tables have.
	Internal, Public Routing
	// Certificates are those of the group that owns the host.
	Certificates []api.Certificate
}

// host is the mapped host that a table has for the request, "" for none.
func (t Trace) host() string {
	if t.Internal.Mapped {
		return t.Internal.Host
	}
	return ""
}

// Naming is what a host's name resolves to.
type Naming struct {
	Ours  bool   // the node's DNS server is who knows; else somebody else is
	Code  string // "NOERROR", "NXDOMAIN", "REFUSED", or what went wrong
	Addrs []netip.Addr
}

// Listener is an address that the router listens on.
type Listener struct {
	netip.AddrPort
	Public bool
	TLS    bool
	// Both says that one on all IPv6 addresses is on all of IPv4 too: a socket of systemd's is.
	Both bool
}

// Routing is what a table has for a host and path.
type Routing struct {
	Known      bool   // the host is in the table
	Host, Path string // of the route; Path "" for none
	Mapped     bool   // else it is an app's own address
	Sticky     string
	Rule       string // that the request matches, "" for none; its release is all of Shares
	Shares     []Share
}

// Share is the part of a route's requests that a release takes.
type Share struct {
	cloud.ReleaseRef
	Part    float64
	Ejected []string // instances that refused connections a moment ago
}

// readProbe reads a URL as people type it.
func readProbe(text, from string) (v Probe, err error) {
	invalid := func() error {
		return cloud.Errorf(cloud.Invalid, "%q is not a URL", text).WithHint("for example micro explain http://shop.micro.test/api")
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return v, invalid()
	}
	v = Probe{Scheme: strings.ToLower(u.Scheme), Host: strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), Target: u.RequestURI(), From: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	if host, err := cloud.ParseHost(v.Host); err == nil {
		v.Host = string(host) // with letters beyond a-z as they are in DNS
	}
	switch v.Scheme {
	case "http":
		v.Port = 80
	case "https":
		v.Port = 443
	default:
		return v, invalid()
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return v, invalid()
		}
		v.Port = uint16(n)
	}
	if from != "" {
		if v.From, err = netip.ParseAddr(from); err != nil {
			return v, cloud.Errorf(cloud.Invalid, "%q is not an IP address", from).WithHint("for example --from 192.0.2.7")
		}
		v.From = v.From.Unmap()
	}
	return v, nil
}

func (v Probe) String() string {
	host := v.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if v.Scheme == "http" && v.Port != 80 || v.Scheme == "https" && v.Port != 443 {
		host = net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))
	}
	return v.Scheme + "://" + host + v.Target
}
