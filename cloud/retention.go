package cloud

import "slices"

const (
	// KeptReleases is how many releases that were current before keep their image, for a way back.
	KeptReleases = 5
	// keptRecords is how many releases an app has at most; beyond that go those without an image, oldest first.
	keptRecords = 50
)

// SweepLimit is how many changes Prune returns at most: they need not happen together, and a store
// of any engine takes so many at once. Whoever gets as many asks again.
const SweepLimit = 100

// Prune returns the changes that give up the images of releases that nobody can want any more: those that
// neither run nor are to, and were not current lately. Only once that is written may an image go; who
// asks for such a release is then told so, and never finds half of it.
func (s *State) Prune() (changes []Change) {
	for app := range s.Apps("") {
		var all []*Release
		for rel := range s.Releases(app.AppRef) {
			all = append(all, rel)
		}
		wayBack := s.wayBack(app)
		extra := len(all) - keptRecords
		for _, rel := range all {
			if len(changes) == SweepLimit {
				return changes
			}
			switch {
			case s.needed(app, rel) || slices.Contains(wayBack, rel.N):
			case extra > 0:
				extra--
				changes = append(changes, Delete(rel))
			case !rel.Pruned:
				next := *rel
				next.Pruned = true
				changes = append(changes, Put(&next))
			}
		}
	}
	return changes
}

// Images are the digests of all images that must stay.
func (s *State) Images() map[string]bool {
	keep := map[string]bool{}
	for rel := range s.AllReleases() {
		if !rel.Pruned {
			keep[rel.Spec.Image.Digest] = true
		}
	}
	return keep
}

// wayBack are the releases that were current before, as many as are kept for that.
func (s *State) wayBack(app *App) (kept []int) {
	for _, n := range slices.Backward(app.History) {
		rel, ok := s.Release(app.Release(n))
		if ok && n != 0 && rel.Up && !rel.Pruned && len(kept) < KeptReleases {
			kept = append(kept, n)
		}
	}
	return kept
}

// needed says whether something names a release, or will when what is under way ends or is taken back.
// Stopped ones are needed as much as those that run: they may be started again.
func (s *State) needed(app *App, r *Release) bool {
	return app.Current == r.N || app.switchesTo(r.N) || r.Staged && r.Failure == nil || r.Warm != nil ||
		s.routed(r.ReleaseRef) || s.Runs(r)
}

// imageless refuses a release whose image is not kept any more.
func imageless(r *Release) error {
	return Errorf(Conflict, "release %s has no image any more: the last %d that were current keep theirs", r.ReleaseRef, KeptReleases).
		WithCommand("micro releases %s", r.AppRef)
}
