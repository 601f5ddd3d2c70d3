package router

import "sync"

// conns are the listeners and the clients' connections.
type conns struct {
	mu      sync.Mutex
	stopped bool     // no listener accepts
	stops   []func() // of the listeners
	closed  bool
	all     map[*session]struct{}
	none    chan struct{} // closed when the last connection has ended after close
}

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

// add notes a connection; false after a shutdown.
func (s *conns) add(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.all == nil {
		s.all = map[*session]struct{}{}
	}
	s.all[c] = struct{}{}
	return true
}

func (s *conns) remove(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	if s.closed && len(s.all) == 0 {
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

func (s *conns) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// close lets no connection in any more. It returns what is closed after the last connection.
func (s *conns) close() (none <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed, s.none = true, make(chan struct{})
		if len(s.all) == 0 {
			s.ended()
		}
	}
	return s.none
}

// closeIdle ends connections between two requests, and those whose handshake is not over.
func (s *conns) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
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
	for c := range s.all {
		_ = c.accepted.Close()
		if c.speaker != nil {
			c.speaker.kill()
		}
	}
}
