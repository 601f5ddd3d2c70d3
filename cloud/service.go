package cloud

import (
	"slices"
	"time"
)

// Service makes a backing service of an app: a database, a cache, a queue. Its release, instance, volume and limits are an
// app's. It has no route and no address outside, and only instances of apps that are bound to it reach it.
type Service struct {
	Kind    string `json:"kind"`              // such as "postgres"
	Version string `json:"version,omitempty"` // the kind's, such as "15"
	// Variable is the environment variable that apps expect the address of such a service in: DATABASE_URL.
	Variable string `json:"variable"`
	// Variables are further ones, such as AWS_ACCESS_KEY_ID.
	Variables []string `json:"variables,omitempty"`
	// Production services may be bound by releasers only.
	Production bool `json:"production,omitempty"`
	// External services run elsewhere. Their release has no instance: its image has the kind's client programs.
	External bool `json:"external,omitempty"`
	// Deleted is when the service was deleted, nil while it is in use. Its data is kept for DeletedFor.
	Deleted *time.Time `json:"deleted,omitempty"`
	// Unfinished is set of a service that is not in use yet, and removed if who makes it is killed.
	Unfinished *Unfinished `json:"unfinished,omitempty"`
	// Brokered is set of a service that a broker provides. It has no release. Kind is then the name of what the broker offers,
	// and Version that of the plan.
	Brokered *Brokered `json:"brokered,omitempty"`
	// Upgrade is the last change of Version, nil for none.
	Upgrade *ServiceUpgrade `json:"upgrade,omitempty"`
	// Purging says that the data of a deleted service is being removed: it can't come back any more.
	Purging bool `json:"purging,omitempty"`
}

// Unfinished says who fills a service with another one's data, and what for.
type Unfinished struct {
	Of    AppName `json:"of"`
	Drill bool    `json:"drill,omitempty"` // the service is removed afterwards; else it is a clone
	// Node and Process fill the service. Process is different after each start of the node.
	Node    NodeName `json:"node"`
	Process string   `json:"process"`
}

// ServiceUpgrade is a change of a service's version. If its release fails, the version is the one from before again.
type ServiceUpgrade struct {
	Release int    `json:"release"`
	From    string `json:"from"` // the version before
}

// without returns the service as it is if release n has failed.
func (s *Service) without(n int) *Service {
	if s == nil || s.Upgrade == nil || s.Upgrade.Release != n {
		return s
	}
	next := *s
	next.Version, next.Upgrade = s.Upgrade.From, nil
	return &next
}

// FinishService returns the changes that put a service to use.
func (s *State) FinishService(r AppRef) ([]Change, error) {
	app, err := s.MustService(r)
	if err != nil || app.Service.Unfinished == nil {
		return nil, err
	}
	next, service := *app, *app.Service
	service.Unfinished = nil
	next.Service = &service
	return []Change{Put(&next)}, nil
}

// DiscardService returns the changes that forget an unfinished service. Its volumes are the caller's to remove.
func (s *State) DiscardService(r AppRef) []Change {
	app, ok := s.App(r)
	if !ok || app.Service == nil || app.Service.Unfinished == nil {
		return nil
	}
	return s.forgetService(app)
}

// DeletedFor is how long a deleted service can be restored.
const DeletedFor = 7 * 24 * time.Hour

// NewService is a service to create.
type NewService struct {
	App     AppRef
	Service Service
	Spec    PushSpec
	Built   Built
}

// CreateService returns the changes that make a service, and its first release. All of the release's environment is
// secret.
func (s *State) CreateService(n NewService, at Stamp) ([]Change, ReleaseRef, error) {
	if err := s.checkNewApp(n.App); err != nil {
		return nil, ReleaseRef{}, err
	}
	if app, ok := s.App(n.App); ok {
		if app.Service != nil && app.Service.Deleted != nil {
			return nil, ReleaseRef{}, Errorf(Conflict, "service %s was deleted, and its data is still kept", n.App).WithCommand("micro service undelete %s", n.App)
		}
		return nil, ReleaseRef{}, Errorf(Conflict, "%s %s exists already", app.noun(), n.App)
	}
	spec, formation, err := n.Spec.Resolve(n.Built, nil)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	spec.Secrets = sortedKeys(spec.Env)
	if err := s.checkSize(Formation{}, formation); err != nil {
		return nil, ReleaseRef{}, err
	}
	changes, rel, err := s.derive(&App{AppRef: n.App, Created: at.At, Service: &n.Service}, nil, spec, formation, false, "create", at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	return changes, rel.ReleaseRef, s.CheckQuota(changes)
}

// MustService returns a service that is not deleted, or an error that a person can use.
func (s *State) MustService(r AppRef) (*App, error) {
	app, ok := s.App(r)
	switch {
	case !ok || app.Service == nil:
		return nil, Errorf(NotFound, "no service %q in group %s", r.App, r.Group).WithCommand("micro service list")
	case app.Service.Deleted != nil:
		return nil, Errorf(NotFound, "service %s was deleted", r).WithCommand("micro service undelete %s", r)
	}
	return app, nil
}

// DeleteService returns the changes that stop a service. Its data is kept for DeletedFor. A service that a running
// release is bound to is not deleted.
func (s *State) DeleteService(r AppRef, at Stamp) ([]Change, error) {
	app, err := s.MustService(r)
	if err != nil {
		return nil, err
	}
	if users := s.BoundTo(r); len(users) > 0 {
		return nil, Errorf(Conflict, "service %s is bound to %s", r, users[0]).WithCommand("micro unbind %s %s", users[0], r.App)
	}
	if b := app.Service.Brokered; b != nil && !b.Made {
		if b.Task == nil { // the broker has nothing
			return s.forgetService(app), nil
		}
		next, service := *app, *app.Service
		service.Deleted, next.Service = &at.At, &service
		return s.beginDeprovision([]Change{Put(&next)}, r, at), nil
	}
	changes, err := s.Stop(r.Release(0), true)
	if err != nil && CodeOf(err) != NotFound {
		return nil, err
	}
	next := *app
	service := *app.Service
	service.Deleted = &at.At
	next.Service, next.Rollout = &service, nil
	return append(slices.DeleteFunc(changes, func(c Change) bool { return c.Key == app.Key() }), Put(&next)), nil
}

// UndeleteService returns the changes that bring a deleted service back.
func (s *State) UndeleteService(r AppRef, at Stamp) ([]Change, ReleaseRef, error) {
	app, ok := s.App(r)
	if !ok || app.Service == nil {
		return nil, ReleaseRef{}, Errorf(NotFound, "no service %q in group %s was deleted within %s", r.App, r.Group, Duration(DeletedFor)).WithCommand("micro service list")
	}
	switch {
	case app.Service.Deleted == nil:
		return nil, ReleaseRef{}, Errorf(Conflict, "service %s is not deleted", r)
	case app.Service.Purging:
		return nil, ReleaseRef{}, Errorf(Conflict, "the data of service %s is being removed", r)
	}
	next := *app
	service := *app.Service
	service.Deleted = nil
	next.Service = &service
	changes := []Change{Put(&next)}
	if app.Current == 0 {
		return changes, r.Release(0), nil
	}
	started, err := s.Start(r.Release(0), at)
	return append(changes, started...), r.Release(app.Current), err
}

// MarkPurging returns the changes after which a deleted service can't be brought back, so that its data may go.
func (s *State) MarkPurging(r AppRef) []Change {
	app, ok := s.App(r)
	if !ok || app.Service == nil || app.Service.Deleted == nil || app.Service.Purging {
		return nil
	}
	next, service := *app, *app.Service
	service.Purging = true
	next.Service = &service
	return []Change{Put(&next)}
}

// PurgeService returns the changes that forget a deleted service for good. Its volumes are the caller's to remove.
func (s *State) PurgeService(r AppRef) []Change {
	app, ok := s.App(r)
	if !ok || app.Service == nil || app.Service.Deleted == nil {
		return nil
	}
	return s.forgetService(app)
}

func (s *State) forgetService(app *App) []Change {
	changes := []Change{Delete(app)}
	if b, ok := s.BackupSchedule(app.AppRef); ok {
		changes = append(changes, Delete(b))
	}
	if home, ok := s.Home(app.AppRef); ok {
		changes = append(changes, Delete(home))
	}
	for rel := range s.Releases(app.AppRef) {
		changes = append(changes, Delete(rel))
	}
	for a := range s.AccountsAt(app.AppRef) {
		changes = append(changes, Delete(a))
	}
	return changes
}

// Services yields the services of a group, or of all groups for "", by group and name.
func (s *State) Services(g GroupName) func(yield func(*App) bool) {
	return func(yield func(*App) bool) {
		for app := range s.Apps(g) {
			if app.Service != nil && !yield(app) {
				return
			}
		}
	}
}

// noun says what an app is to people.
func (a *App) noun() string {
	if a.Service != nil {
		return "service"
	}
	return "app"
}

// notService reports that an app is a service, which verbs about apps must leave alone.
func (s *State) notService(r AppRef) error {
	if app, ok := s.App(r); ok && app.Service != nil {
		return Errorf(Conflict, "%s is a service, not an app", r)
	}
	return nil
}

// UpgradeService returns the changes that make a release of a service from another image, and the release.
func (s *State) UpgradeService(r AppRef, version string, image Image, at Stamp) ([]Change, ReleaseRef, error) {
	service, err := s.MustService(r)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	_, rel, err := s.MustRelease(r.Release(0))
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	app, own := *service, *service.Service
	from := own.Version
	if own.Upgrade != nil && own.Upgrade.Release != service.Current {
		from = own.Upgrade.From // that one has not come up yet
	}
	own.Version, own.Upgrade = version, &ServiceUpgrade{Release: service.Last + 1, From: from}
	app.Service = &own
	spec := rel.Spec
	spec.Image = image
	changes, next, err := s.derive(&app, rel, spec, rel.Formation, false, "upgrade", at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	return changes, next.ReleaseRef, nil
}
