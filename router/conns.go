package router

import (
	"net/netip"
	"sync"
	"time"
)

// conns has the listeners and the clients' connections.
type conns struct {
	limits connectionLimits

	mu      sync.Mutex
	stopped bool     // the listeners are closed
	stops   []func() // close the listeners
	closed  bool
	all     crowd
	clients map[netip.Prefix]*crowd
	groups  map[string]*crowd
	none    chan struct{} // closed when the last connection has ended after close
	refused uint64
}

// connectionLimits are the largest numbers of clients' connections; 0 for no limit.
type connectionLimits struct {
	all, client, group int
	groupOf            func(netip.Addr) string
	refused            func(s *session, limit string, most int) // called for each refused connection
}

// The crowds of a session.
const (
	ofAll = iota
	ofClient
	ofGroup
	crowds
)

// listening registers a listener with the function that stops it; false after a shutdown.
func (s *conns) listening(stop func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.stops = append(s.stops, stop)
	return true
}

// stop closes the listeners. After it returns, all has every accepted connection.
func (s *conns) stop() {
	s.mu.Lock()
	s.stopped = true
	stops := s.stops
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// add adds a connection. If there are too many, it ends the one that has waited longest for a request; if none waits, it
// refuses the new one and returns false. It also returns false after a shutdown.
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
		most[ofClient] = s.limits.client // a trusted proxy has the connections of many clients
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

// move counts a connection for the client in a PROXY header instead of for the proxy. It returns false if that client has too
// many.
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

// client returns the network that counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which a single
// customer usually has.
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

// forget removes empty crowds. mu is held.
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

// speaks sets a connection's protocol after its handshake.
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

// count returns the numbers of open and of refused connections.
func (s *conns) count() (open int, refused uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all.list), s.refused
}

// evict ends the connection that has waited longest for a request; false if none waits.
func (s *conns) evict() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.evict()
}

// close refuses new connections. It returns a channel that is closed after the last connection has ended.
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

// closeIdle ends connections that are between two requests or in their handshake.
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

// kill ends all connections, also during a request.
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
