package network

import (
	"errors"
	"sync"
	"time"
)

// spare is a pair of namespaces that waits for a container: to make one takes half of the time that Attach
// does. It has the user IDs of the group that a container was attached for last.
type spare struct {
	attached chan struct{} // has something in it after an Attach

	mu    sync.Mutex // guards what follows, and the pins
	group uint32
	pair  *endpoint
}

// spareID names the pins; no container is called so.
const spareID = "_spare"

// spareDelay keeps the making of a spare out of the way of starts that follow each other.
const spareDelay = 100 * time.Millisecond

// take pins the spare for a container, and reports whether it could.
func (s *spare) take(ep *endpoint) bool {
	if ep.UserNS == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = ep.Tenant
	select {
	case s.attached <- struct{}{}:
	default:
	}
	pair := s.pair
	if pair == nil || pair.Tenant != ep.Tenant {
		return false
	}
	s.pair = nil
	return errors.Join(bind(pair.UserNS, ep.UserNS), bind(pair.NetNS, ep.NetNS), pair.removeNamespaces()) == nil
}

// prepare makes a spare of the wanted group, unless there is one.
func (n *Network) prepareSpare() error {
	s := &n.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pair != nil && s.pair.Tenant == s.group {
		return nil
	}
	pair := n.endpoint(Endpoint{ID: spareID, Tenant: s.group})
	s.pair = nil
	err := pair.removeNamespaces() // another group's
	if err == nil {
		err = pair.makeNamespaces()
	}
	if err != nil {
		return errors.Join(err, pair.removeNamespaces())
	}
	s.pair = pair
	return nil
}

// dropSpare takes away the spare, also one that an earlier micro has left.
func (n *Network) dropSpare() error {
	n.spare.mu.Lock()
	defer n.spare.mu.Unlock()
	n.spare.pair = nil
	return n.endpoint(Endpoint{ID: spareID}).removeNamespaces()
}
