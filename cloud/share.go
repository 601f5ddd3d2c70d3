package cloud

// TargetShare is a release that a route names, and what it is to have of the requests.
type TargetShare struct {
	ReleaseRef
	// Percent is nil where that is up to the instances that are ready.
	Percent *float64
}

// Shares returns what the releases of a route are to have, each target as the release that it stands for
// now. Where all have weights these are relative; else they are percent, as in Target.
func (s *State) Shares(r *Route) []TargetShare {
	whole, all := 0, true
	for _, t := range r.Targets {
		whole += t.Weight
		all = all && t.Weighted
	}
	if !all {
		whole = max(whole, 100)
	}
	var shares []TargetShare
	for _, t := range r.Targets {
		rel, ok := s.Release(t.ReleaseRef)
		if !ok {
			continue // an app whose first release is not up
		}
		share := TargetShare{ReleaseRef: rel.ReleaseRef}
		switch {
		case t.Weighted && whole > 0:
			percent := 100 * float64(t.Weight) / float64(whole)
			share.Percent = &percent
		case len(r.Targets) == 1:
			percent := 100.0
			share.Percent = &percent
		}
		shares = append(shares, share)
	}
	return shares
}
