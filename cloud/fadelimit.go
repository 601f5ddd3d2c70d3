package cloud

import (
	"fmt"
	"time"
)

// most is the share in percent that a cross-fade may reach.
func (f *Crossfade) most() float64 {
	if f.Limit == nil {
		return 100
	}
	return float64(f.Limit.Share)
}

// pauseAtLimit holds a cross-fade that may go no further: somebody without the limit decides.
func (f *Crossfade) pauseAtLimit(vhost *VirtualHost, route *Route, at Stamp) []Change {
	next, held := *route, *f
	held.Paused, held.MovedBy = true, at.By
	held.Reason = fmt.Sprintf("the token that began it allows at most %d %%", f.Limit.Share)
	next.Crossfade = &held
	return []Change{Put(vhost.With(next))}
}

// Expired reports why a cross-fade must go back now: the time that its token allows is over.
func (f *Crossfade) Expired(now time.Time) (why string, ok bool) {
	if f.Limit == nil || f.Limit.For <= 0 || f.Step == 0 || now.Before(f.Began().Add(time.Duration(f.Limit.For))) {
		return "", false
	}
	return fmt.Sprintf("the token that began it allows %s", f.Limit.For), true
}

// LimitFades puts the limit of the actor's token on the cross-fades that changes begin. Those that an actor
// without such a limit resumes lose theirs.
func (s *State) LimitFades(by Actor, changes []Change) []Change {
	var limit *FadeLimit
	if t, ok := s.Token(by.Token); ok {
		limit = t.Fade
	}
	for i, c := range changes {
		vhost, ok := c.Object.(*VirtualHost)
		if !ok {
			continue
		}
		for _, route := range vhost.Routes {
			fade := route.Crossfade
			if fade == nil {
				continue
			}
			was := s.fadeOf(vhost.Host, route.Path)
			begun := was == nil || !was.Started.Equal(fade.Started)
			resumed := was != nil && was.Paused && !fade.Paused
			if begun && limit != nil || resumed && limit == nil && fade.Limit != nil {
				next := *fade
				next.Limit = limit
				route.Crossfade = &next
				vhost = vhost.With(route)
			}
		}
		changes[i].Object = vhost
	}
	return changes
}

// fadeOf is the cross-fade of a route, nil for none.
func (s *State) fadeOf(h Host, path string) *Crossfade {
	vhost, ok := s.VirtualHost(h)
	if !ok {
		return nil
	}
	route, ok := vhost.Route(path)
	if !ok {
		return nil
	}
	return route.Crossfade
}
