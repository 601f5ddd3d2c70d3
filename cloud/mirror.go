package cloud

// SetMirror returns the changes that have percent of a route's safe requests copied to a release, or no
// more for 0. The answers to copies reach nobody; they are compared with those to the originals.
func (s *State) SetMirror(h Host, path string, to ReleaseRef, percent int) ([]Change, error) {
	vhost, route, err := s.mustRoute(h, path)
	if err != nil {
		return nil, err
	}
	next := *route
	if percent == 0 {
		if next.Mirror == nil {
			return nil, nil
		}
		next.Mirror = nil
		return []Change{Put(vhost.With(next))}, nil
	}
	if percent < 0 || percent > 100 {
		return nil, Errorf(Invalid, "%d is not a percentage between 0 and 100", percent).WithCommand("micro traffic %s --mirror %s=10%%", h, to)
	}
	if _, err := s.checkTarget(to); err != nil {
		return nil, err
	}
	if to.Group != vhost.Group {
		return nil, Errorf(Conflict, "%s is not of the group that owns %s", to, h).WithCommand("micro routes")
	}
	mirror := Mirror{To: to, Percent: percent}
	if next.Mirror != nil && *next.Mirror == mirror {
		return nil, nil
	}
	next.Mirror = &mirror
	changed := vhost.With(next)
	if err := changed.checkBytes(); err != nil {
		return nil, err
	}
	return []Change{Put(changed)}, nil
}
