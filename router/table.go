package router

import (
	"bytes"
	"context"
	"net"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// Table says where every host and path leads. It is immutable, but for what it refers to: endpoints
// and turns live on from table to table.
type Table struct {
	view   cloud.View
	domain string
	// An internal host is not in the public map at all: there is no filter that could be got around.
	public, internal *shards[*vhost]
	pools            *shards[*Pool]     // by release, "shop@r7"
	endpoints        *shards[*Endpoint] // by instance ID
	limits           *limits            // of the cloud
	links            map[string]*link   // by ID

	base *Table      // what it was compiled from; cut by Swap
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
}

// Route is where a path of a host leads.
type Route struct {
	Host, Path string
	mapped     bool             // by somebody, it is no app's own address
	apps       []cloud.AppRef   // of its targets, each once, for X-Micro-Release
	only       cloud.ReleaseRef // that it leads to; without a number where there are several
	shares     []share
	explicit   bool // its shares were asked for, they don't follow the ready instances
	plan       plan
	turns      *turns
	sticky     sticky
	limits     *limits
	limited    cloud.Limits // what the route itself sets of them
	mirror     *mirror      // nil for none
	rules      []rule       // the first that matches counts
	lot        *lot         // of its host, nil where it holds no requests
	headers    bool         // answers name release and instance
	tls        *hostTLS     // of the host
	login      *login       // of the host, nil where nobody has to log in
	portal     bool         // people log in there
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

// Mount leads an internal host to a part of this process or to another one: what Dial connects to
// speaks HTTP/1.1.
type Mount struct {
	Host cloud.Host
	Name cloud.AppName // what its requests are counted for, for example "api": no app has it
	Dial func(context.Context) (net.Conn, error)
}

// maxHostKey is the longest host that a table has.
const maxHostKey = 253

// hostKey writes what a table knows the host by into buf: lower case, no port, no trailing dot.
// nil is a host that no table has.
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
	// At most as long as the longest route: a path of ten thousand segments costs no more than one.
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
