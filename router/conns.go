package router

import "sync"

// conns are the listeners' ends and the clients' connections.
type conns struct {
	mu      sync.Mutex
	stopped bool     // no listener accepts
	stops   []func() // of the listeners
	closed  bool
	all     map[*conn]struct{}
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
func (s *conns) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.all == nil {
		s.all = map[*conn]struct{}{}
	}
	s.all[c] = struct{}{}
	return true
}

func (s *conns) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	if s.closed && len(s.all) == 0 {
		s.ended()
	}
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

// closeIdle ends connections between two requests.
func (s *conns) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if c.idle.Load() {
			c.w.cancelRead()
		}
	}
}

// kill ends all connections, whatever they are at.
func (s *conns) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		_ = c.w.Conn.Close()
		if up := c.w.up.Load(); up != nil {
			_ = up.Conn.Close()
		}
	}
}
