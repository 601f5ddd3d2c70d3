package router

import (
	"bytes"
	"context"
	"net"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// Table maps hosts and paths to releases. It is immutable, except for endpoints and turns, which are kept from table to
// table.
type Table struct {
	view   cloud.View
	domain string
	// The public map has no internal hosts, so no filter is needed that could be bypassed.
	public, internal *shards[*vhost]
	pools            *shards[*Pool]     // by release, "shop@r7"
	endpoints        *shards[*Endpoint] // by instance ID
	limits           *limits            // of the cloud
	links            map[string]*link   // by ID
	ports            map[uint16]bool    // that are routed, and whether the public may reach each
	passing          int                // hosts whose TLS is the app's

	base *Table      // the previous table; removed by Swap
	gone []*Endpoint // endpoints of base that are not in it
}

// Revision is the revision of the state that the table was compiled from.
func (t *Table) Revision() cloud.Revision { return t.view.State.Rev() }

// Hosts returns how many hosts the internal and the public listeners know.
func (t *Table) Hosts() (internal, public int) { return t.internal.n, t.public.n }

// vhost is a host with its routes.
type vhost struct {
	root    *Route            // of "/", nil where there is none
	routes  map[string]*Route // by path, "/" too
	longest int               // length of the longest path
	tls     *hostTLS          // nil for nothing special
	mounted *Endpoint         // of a Mount
	lot     *lot              // nil where no route holds requests
	// passthrough: TLS is the app's
	passthrough bool
	parking     *parking // of the last hold of the host, nil for none
	held        bool     // that hold lasts
}

// Route has the targets of a path of a host.
type Route struct {
	Host, Path string
	mapped     bool             // a mapped host, not an app's own address
	apps       []cloud.AppRef   // of its targets, each once, for X-Micro-Release
	only       cloud.ReleaseRef // its only release; without a number if there are several
	shares     []share
	fading     int64 // when the cross-fade of the route began, in Unix seconds; 0 for none
	explicit   bool  // its shares are weights, and don't follow the ready instances
	plan       plan
	turns      *turns
	sticky     sticky
	limits     *limits
	limited    cloud.Limits // what the route itself sets of them
	mirror     *mirror      // nil for none
	parking    *parking     // where requests wait while the host is held, nil if it is not
	rules      []rule       // the first that matches counts
	lot        *lot         // of its host, nil where it holds no requests
	headers    bool         // answers name release and instance
	tls        *hostTLS     // of the host
	login      *login       // of the host, nil where nobody has to log in
	portal     bool         // people log in there
	// passes: connections are passed on as they are. proxyProtocol: each begins with a header that says whose it is.
	passes, proxyProtocol bool
}

// share is the part of a route's requests that a pool takes.
type share struct {
	weight uint64
	pool   *Pool
}

// Pool is the ready instances of a release.
type Pool struct {
	Release   cloud.ReleaseRef
	Endpoints []*Endpoint
	near, far []*Endpoint // those on this node and on others, where there are both
	hash      uint64      // of its name
}

// Mount sends an internal host's requests to a part of this process or to another process, which speaks HTTP/1.1 on the
// connections of Dial.
type Mount struct {
	Host cloud.Host
	Name cloud.AppName // what its requests are counted for, for example "api": no app has it
	Dial func(context.Context) (net.Conn, error)
}

// maxHostKey is the longest host that a table has.
const maxHostKey = 253

// hostKey writes the table's key of a host into buf: in lower case, without port and trailing dot. It returns nil for a host
// that no table can have.
func hostKey(authority []byte, buf *[maxHostKey + 1]byte) []byte {
	name := h1.HostName(authority)
	if n := len(name); n > 1 && name[n-1] == '.' {
		name = name[:n-1]
	}
	if len(name) > maxHostKey {
		return nil
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

var localhost = []byte(".localhost")

// find returns the route of a host and path: that of the longest path of its vhost. key is overwritten.
func (t *Table) find(internal, loopback bool, key *[maxHostKey + 1]byte, host, target []byte, scratch []byte) *Route {
	if s := t.vhost(internal, loopback, key, host); s != nil {
		return s.find(target, scratch)
	}
	return nil
}

// vhost returns an exact host's vhost, else that of a wildcard of one label. Names under .localhost are
// those of the private domain, for loopback clients.
func (t *Table) vhost(internal, loopback bool, key *[maxHostKey + 1]byte, host []byte) *vhost {
	hosts := t.public
	if internal {
		hosts = t.internal
		if loopback && bytes.HasSuffix(host, localhost) {
			n := len(host) - len(localhost) + 1
			if n+len(t.domain) > maxHostKey {
				return nil
			}
			host = key[:n+copy(key[n:], t.domain)]
		}
	}
	s, ok := hosts.get(host)
	if !ok {
		dot := bytes.IndexByte(host, '.')
		if dot < 1 {
			return nil
		}
		wildcard := host[dot-1:]
		wildcard[0] = '*'
		if s, ok = hosts.get(wildcard); !ok {
			return nil
		}
	}
	return s
}

// find returns the route of the longest path that the target is at or below.
func (s *vhost) find(target, scratch []byte) *Route {
	if s.longest == 1 {
		return s.root
	}
	p := routingPath(target, scratch)
	// Begin with the length of the longest route, so that a path of ten thousand segments costs no more than a short one.
	if len(p) > s.longest {
		end := s.longest
		if p[end] != '/' {
			end = bytes.LastIndexByte(p[:end], '/')
		}
		p = p[:max(end, 0)]
	}
	for len(p) > 1 {
		if r, ok := s.routes[string(p)]; ok {
			return r
		}
		p = p[:bytes.LastIndexByte(p, '/')]
	}
	return s.root
}
