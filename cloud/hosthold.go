package cloud

import (
	"strings"
	"time"
)

// HostHold has the routers of all nodes hold new requests of a host, until it is removed or its time is over.
type HostHold struct {
	ID    string    `json:"id"` // tells it from a later one of the host
	By    string    `json:"by"`
	Began time.Time `json:"began"`
	Until time.Time `json:"until"`
}

// MaxHostHold is how long the requests of a host may be held at most.
const MaxHostHold = 5 * time.Minute

// Lasts reports whether a host is held at a time. A nil hold lasts never.
func (h *HostHold) Lasts(now time.Time) bool { return h != nil && now.Before(h.Until) }

// HoldHost returns the changes that have the routers hold new requests of a host, at most for a time.
func (s *State) HoldHost(h Host, id string, most time.Duration, at Stamp) ([]Change, error) {
	vhost, err := s.mustVirtualHost(h)
	switch {
	case err != nil:
		return nil, err
	case vhost.PassesBytes():
		return nil, Errorf(Conflict, "%s passes bytes on, and the router knows no requests of it", h).WithCommand("micro routes")
	case most <= 0 || most > MaxHostHold:
		return nil, Errorf(Invalid, "requests cannot be held for %s: more than 0 and at most %s", most, MaxHostHold).WithHint("for example --max 8s")
	case len(id) > 64 || strings.TrimSpace(id) == "":
		return nil, Errorf(Invalid, "the hold has no ID")
	case vhost.Hold.Lasts(at.At):
		return nil, Errorf(Conflict, "%s is held by %s until %s", h, vhost.Hold.By, vhost.Hold.Until.UTC().Format("15:04:05 MST")).WithCommand("micro routes")
	}
	next := *vhost
	next.Hold = &HostHold{ID: id, By: at.By, Began: at.At, Until: at.At.Add(most)}
	return []Change{Put(&next)}, nil
}

// EndHostHold returns the changes that let a host's requests go on. There are none if another hold has begun, or none is left.
func (s *State) EndHostHold(h Host, id string) []Change {
	vhost, ok := s.VirtualHost(h)
	if !ok || vhost.Hold == nil || vhost.Hold.ID != id {
		return nil
	}
	next := *vhost
	next.Hold = nil
	return []Change{Put(&next)}
}
