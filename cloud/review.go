package cloud

import (
	"fmt"
	"slices"
	"time"
)

// Review is what people said of a release.
type Review struct {
	ReleaseRef
	Notes []Note `json:"notes"` // the latest last
}

// Note is what one person said of a release.
type Note struct {
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Approved bool      `json:"approved"`
	Text     string    `json:"text,omitempty"`
}

// Key is "reviews/GROUP/APP/N".
func (r *Review) Key() Key { return reviewKey(r.ReleaseRef) }

func (r *Review) touch(*touched)    {}
func (r *Review) indexes() []string { return nil }

func reviewKey(r ReleaseRef) Key {
	return Key(fmt.Sprintf("reviews/%s/%s/%08d", r.Group, r.App, r.N))
}

// maxNotes is how many notes a release has at most, and maxNote how long one is, in bytes.
const (
	maxNotes = 100
	maxNote  = 2000
)

// Review returns what people said of a release, nothing where nobody did.
func (s *State) Review(r ReleaseRef) []Note {
	if review, ok := get[*Review](s, reviewKey(r)); ok {
		return review.Notes
	}
	return nil
}

// AddNote returns the changes by which somebody approves or rejects a release. Who made the release does not
// approve it.
func (s *State) AddNote(r ReleaseRef, n Note) ([]Change, error) {
	_, rel, err := s.MustRelease(r)
	if err != nil {
		return nil, err
	}
	switch {
	case r.N == 0:
		return nil, Errorf(Invalid, "name the release").WithCommand("micro releases %s", r)
	case len(n.Text) > maxNote:
		return nil, Errorf(Invalid, "a note has at most %d bytes", maxNote)
	case !n.Approved && n.Text == "":
		return nil, Errorf(Invalid, "say why the release is rejected").WithHint(`micro reject %s -m "the basket loses items"`, r)
	case n.Approved && n.By == rel.By:
		return nil, Errorf(Denied, "%s made release %s, and somebody else must approve it", n.By, r)
	case n.Approved && rel.Failure != nil:
		return nil, failed(rel)
	}
	notes := append(append([]Note{}, s.Review(r)...), n)
	return []Change{Put(&Review{r, notes[max(0, len(notes)-maxNotes):]})}, nil
}

// Approved reports whether somebody approved a release and nobody rejected it since.
func (s *State) Approved(r ReleaseRef) bool {
	notes := s.Review(r)
	return len(notes) > 0 && notes[len(notes)-1].Approved
}

// Gate is what a group asks for before the public reaches a release.
type Gate struct {
	Group GroupName `json:"group"`
}

// Key is "gates/GROUP": a group that has one wants each release approved.
func (g *Gate) Key() Key { return gateKey(g.Group) }

func (g *Gate) touch(*touched)    {}
func (g *Gate) indexes() []string { return nil }

func gateKey(g GroupName) Key { return Key("gates/" + string(g)) }

// RequiresApproval reports whether a group wants releases approved before the public reaches them.
func (s *State) RequiresApproval(g GroupName) bool {
	_, ok := get[*Gate](s, gateKey(g))
	return ok
}

// RequireApproval returns the changes that have a group want approvals, or no longer.
func (s *State) RequireApproval(g GroupName, required bool) ([]Change, error) {
	if _, err := s.MustGroup(g); err != nil {
		return nil, err
	}
	switch was := s.RequiresApproval(g); {
	case was == required:
		return nil, nil
	case required:
		return []Change{Put(&Gate{g})}, nil
	}
	return []Change{Delete(&Gate{g})}, nil
}

// CheckApproval reports changes by which the public would reach a release that is not approved, or such a release would
// use a production service, in a group that wants approvals. What the public reaches already may stay.
func (s *State) CheckApproval(changes []Change) error {
	for _, c := range changes {
		if rel, ok := c.Object.(*Release); ok {
			if err := s.mayUseProduction(rel); err != nil {
				return err
			}
		}
	}
	next := s.Apply(s.Rev()+1, changes)
	for _, c := range changes {
		switch o := c.Object.(type) {
		case *VirtualHost:
			if o.Exposure != ExposedPublic || !s.RequiresApproval(o.Group) {
				continue
			}
			reached := map[ReleaseRef]bool{}
			if was, ok := s.VirtualHost(o.Host); ok && was.Exposure == ExposedPublic {
				reached = s.reached(was)
			}
			for ref := range next.reached(o) {
				if err := s.mustBeApproved(next, ref); err != nil && !reached[ref] {
					return err
				}
			}
		case *App:
			was, ok := s.App(o.AppRef)
			if o.Rollout == nil || ok && was.switchesTo(o.Rollout.To) || !s.RequiresApproval(o.Group) || !next.exposes(o) {
				continue
			}
			// What was current before has been with the public.
			if ref := o.Release(o.Rollout.To); !ok || !slices.Contains(was.History, ref.N) {
				if err := s.mustBeApproved(next, ref); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// exposes reports whether the public reaches what an app is about to be switched to: by a host that leads to the
// app, or by a route of the release's own manifest.
func (s *State) exposes(app *App) bool {
	if s.facesPublic(app.AppRef.Release(0)) {
		return true
	}
	rel, ok := s.Release(app.Release(app.Rollout.To))
	return ok && slices.ContainsFunc(rel.Spec.Routes, func(r RouteSpec) bool { return r.Public })
}

// reached are the releases that the routes of a host lead to, or begin to lead to.
func (s *State) reached(vhost *VirtualHost) map[ReleaseRef]bool {
	refs := map[ReleaseRef]bool{}
	add := func(ref ReleaseRef) {
		if ref.N == 0 {
			app, ok := s.App(ref.AppRef)
			if !ok || app.Current == 0 {
				return
			}
			ref.N = app.Current
		}
		refs[ref] = true
	}
	for _, r := range vhost.Routes {
		for _, t := range r.Targets {
			add(t.ReleaseRef)
		}
		for _, rule := range r.Rules {
			add(rule.To)
		}
		if r.Crossfade != nil {
			add(r.Crossfade.To)
		}
	}
	return refs
}

// mustBeApproved reports that a release is not approved in the state that is to be.
func (s *State) mustBeApproved(next *State, r ReleaseRef) error {
	if next.Approved(r) {
		return nil
	}
	if _, ok := s.Release(r); !ok {
		return Errorf(Conflict, "group %s wants releases approved before the public reaches them, and this one is new", r.Group).WithHint("push it with --stage, and have somebody else approve it")
	}
	return Errorf(Conflict, "release %s is not approved, and group %s wants that before the public reaches it", r, r.Group).WithCommand("micro approve %s", r)
}

// mayUseProduction reports that a new release uses a production service that the one it derives from does not, and that
// nobody has approved that one.
func (s *State) mayUseProduction(rel *Release) error {
	if _, known := s.Release(rel.ReleaseRef); known || !s.RequiresApproval(rel.Group) {
		return nil
	}
	var had []Binding
	parent, derived := s.Release(rel.AppRef.Release(rel.Parent))
	if derived = derived && rel.Parent > 0; derived {
		had = parent.Spec.Bindings
	}
	for _, b := range rel.Spec.Bindings {
		app, ok := s.App(AppRef{rel.Group, b.Service})
		if !ok || app.Service == nil || !app.Service.Production || slices.ContainsFunc(had, func(h Binding) bool { return h.Service == b.Service }) {
			continue
		}
		switch {
		case rel.Cause == "push":
			return Errorf(Conflict, "group %s wants releases approved before they use the production service %s, and this one is new", rel.Group, b.Service).
				WithHint("push it with --stage and without %s, have somebody else approve it, then micro bind or micro rebind", b.Service)
		case derived && !s.Approved(parent.ReleaseRef):
			return Errorf(Conflict, "release %s is not approved, and group %s wants that before it uses the production service %s", parent.ReleaseRef, rel.Group, b.Service).
				WithCommand("micro approve %s", parent.ReleaseRef)
		}
	}
	return nil
}

// forgetReviews returns the changes that drop what was said of a release: another one may have its name some day.
func (s *State) forgetReviews(r ReleaseRef) []Change {
	if len(s.Review(r)) == 0 {
		return nil
	}
	return []Change{Delete(&Review{ReleaseRef: r})}
}
