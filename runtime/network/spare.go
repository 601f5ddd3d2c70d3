package network

import (
	"errors"
	"sync"
	"time"
)

// spare is a pair of namespaces made in advance for the next container, because making them takes half of Attach's time.
// It has the user IDs of the group whose container was attached last.
type spare struct {
	attached chan struct{} // gets a value after an Attach

	mu    sync.Mutex // guards the fields below, and the pins
	group uint32
	pair  *endpoint
}

// spareID is the name of the spare's pins. No container has this ID.
const spareID = "_spare"

// spareDelay is how long to wait after an Attach before making a spare, so as not to slow down further starts.
const spareDelay = 100 * time.Millisecond

// take gives the spare namespaces to a container, and reports whether it could.
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

// prepareSpare makes a spare for the group of the last container, unless there is one.
func (n *Network) prepareSpare() error {
	s := &n.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pair != nil && s.pair.Tenant == s.group {
		return nil
	}
	pair := n.endpoint(Endpoint{ID: spareID, Tenant: s.group})
	s.pair = nil
	err := pair.removeNamespaces() // a spare of another group
	if err == nil {
		err = pair.makeNamespaces()
	}
	if err != nil {
		return errors.Join(err, pair.removeNamespaces())
	}
	s.pair = pair
	return nil
}

// dropSpare removes the spare, also that of an earlier process.
func (n *Network) dropSpare() error {
	n.spare.mu.Lock()
	defer n.spare.mu.Unlock()
	n.spare.pair = nil
	return n.endpoint(Endpoint{ID: spareID}).removeNamespaces()
}
