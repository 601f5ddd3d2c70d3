package router

import (
	"net/netip"
	"sync"
	"time"
)

// conns are the listeners and the clients' connections.
type conns struct {
	limits connectionLimits

	mu      sync.Mutex
	stopped bool     // no listener accepts
	stops   []func() // of the listeners
	closed  bool
	all     crowd
	clients map[netip.Prefix]*crowd
	groups  map[string]*crowd
	none    chan struct{} // closed when the last connection has ended after close
	refused uint64
}

// connectionLimits are the largest numbers of clients' connections; 0 is any number.
type connectionLimits struct {
	all, client, group int
	groupOf            func(netip.Addr) string
	refused            func(s *session, limit string, most int) // is told of what is refused
}

// The crowds that a session is in.
const (
	ofAll = iota
	ofClient
	ofGroup
	crowds
)

// listening notes how a listener is stopped, and waited for; false after a shutdown.
func (s *conns) listening(stop func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.stops = append(s.stops, stop)
	return true
}

// stop ends the listeners. When it returns, every connection that they accepted is among all.
func (s *conns) stop() {
	s.mu.Lock()
	s.stopped = true
	stops := s.stops
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// add takes a connection in. Where that is one too many, the one that has waited longest for a request ends; where
// none waits, the new one is refused. add returns false then, and after a shutdown.
func (s *conns) add(c *session) bool {
	addr := c.peer.Addr()
	group := ""
	if s.limits.groupOf != nil {
		group = s.limits.groupOf(addr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	client := s.client(addr)
	of := [crowds]*crowd{ofAll: &s.all, ofClient: crowdOf(&s.clients, client)}
	most := [crowds]int{ofAll: s.limits.all}
	if !c.loopback && !c.trusted {
		most[ofClient] = s.limits.client // else it speaks for many
	}
	if group != "" {
		of[ofGroup], most[ofGroup] = crowdOf(&s.groups, group), s.limits.group
	}
	for kind, crowd := range of {
		if crowd == nil || most[kind] <= 0 || len(crowd.list) < most[kind] || crowd.evict() {
			continue
		}
		s.refused++
		s.forget(client, group)
		if s.limits.refused != nil {
			s.limits.refused(c, [crowds]string{"all", "of one client", "of one group"}[kind], most[kind])
		}
		return false
	}
	for kind, crowd := range of {
		if crowd != nil {
			crowd.add(c, kind)
		}
	}
	c.inClient, c.inGroup = client, group
	return true
}

// move counts a connection for the client that a PROXY header names, instead of for the proxy. It returns false
// where that client has too many.
func (s *conns) move(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.client(c.peer.Addr())
	crowd := crowdOf(&s.clients, client)
	if most := s.limits.client; most > 0 && !c.loopback && !c.trusted && len(crowd.list) >= most && !crowd.evict() {
		s.refused++
		s.forget(client, "")
		if s.limits.refused != nil {
			s.limits.refused(c, "of one client", most)
		}
		return false
	}
	if c.places[ofClient].crowd != nil {
		c.places[ofClient].crowd.remove(c, ofClient)
		s.forget(c.inClient, "")
	}
	crowd.add(c, ofClient)
	c.inClient = client
	return true
}

// client is what counts as one client: an IPv4 address, or an IPv6 network of 64 bits, as one customer gets it.
func (*conns) client(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

func crowdOf[K comparable](all *map[K]*crowd, k K) *crowd {
	if *all == nil {
		*all = map[K]*crowd{}
	}
	c := (*all)[k]
	if c == nil {
		c = new(crowd)
		(*all)[k] = c
	}
	return c
}

// forget drops crowds of nobody. mu is held.
func (s *conns) forget(client netip.Prefix, group string) {
	if c := s.clients[client]; c != nil && len(c.list) == 0 {
		delete(s.clients, client)
	}
	if c := s.groups[group]; c != nil && len(c.list) == 0 {
		delete(s.groups, group)
	}
}

func (s *conns) remove(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind := range c.places {
		if crowd := c.places[kind].crowd; crowd != nil {
			crowd.remove(c, kind)
		}
	}
	s.forget(c.inClient, c.inGroup)
	if s.closed && len(s.all.list) == 0 {
		s.ended()
	}
}

// speaks notes what a connection speaks, after its handshake.
func (s *conns) speaks(c *session, as speaker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.speaker = as
}

func (s *conns) ended() {
	select {
	case <-s.none:
	default:
		close(s.none)
	}
}

// count returns how many connections there are, and how many have been refused.
func (s *conns) count() (open int, refused uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all.list), s.refused
}

// evict ends the connection that has waited longest for a request; false where none waits.
func (s *conns) evict() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.evict()
}

// close lets no connection in any more. It returns what is closed after the last connection.
func (s *conns) close() (none <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed, s.none = true, make(chan struct{})
		if len(s.all.list) == 0 {
			s.ended()
		}
	}
	return s.none
}

// closeIdle ends connections between two requests, and those whose handshake is not over.
func (s *conns) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all.list {
		if c.speaker != nil {
			c.speaker.endIdle()
		} else {
			_ = c.accepted.Close()
		}
	}
}

// kill ends all connections, whatever they are at.
func (s *conns) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all.list {
		_ = c.accepted.Close()
		if c.speaker != nil {
			c.speaker.kill()
		}
	}
}

// refusalsEvery is how often a refusal is logged at most.
const refusalsEvery = 10 * time.Second
