package router

import "math/rand/v2"

// crowd are sessions that share a limit: all of them, those of one client, those of one group's containers.
type crowd struct {
	list []*session
}

// place is where a session stands in a crowd.
type place struct {
	crowd *crowd
	at    int
}

// sampled is how many sessions of a larger crowd are compared to find the idlest. It bounds what one connection
// more costs, at some microseconds.
const sampled = 1024

func (c *crowd) add(s *session, kind int) {
	s.places[kind] = place{c, len(c.list)}
	c.list = append(c.list, s)
}

func (c *crowd) remove(s *session, kind int) {
	at, last := s.places[kind].at, len(c.list)-1
	c.list[at] = c.list[last]
	c.list[at].places[kind].at = at
	c.list[last] = nil
	c.list = c.list[:last]
	s.places[kind] = place{}
}

// idlest returns the session that has waited longest for a request, nil where none waits.
func (c *crowd) idlest() *session {
	var found *session
	var since int64
	first, n := 0, len(c.list)
	if n > sampled {
		first, n = rand.IntN(n), sampled
	}
	for i := range n {
		s := c.list[(first+i)%len(c.list)]
		if s.evicted {
			continue
		}
		if at := s.idleSince(); at > 0 && (found == nil || at < since) {
			found, since = s, at
		}
	}
	return found
}

// evict ends the session that has waited longest for a request; false where none waits.
func (c *crowd) evict() bool {
	for range 3 { // some begin a request meanwhile
		s := c.idlest()
		switch {
		case s == nil:
			return false
		case s.speaker == nil:
			_ = s.accepted.Close()
		case !s.speaker.endWaiting():
			continue
		}
		s.evicted = true
		return true
	}
	return false
}
