package cloud

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Binding ties a release to a service: its instances get an account there.
type Binding struct {
	Service AppName `json:"service"` // of the app's group
	// Account is the number of the release that was bound first with the same account.
	Account int `json:"account"`
	// Name is what the app finds the binding by, "" for the service's.
	Name string `json:"name,omitempty"`
	// For is the service that was bound first, if others have replaced it since: the manifest still names that.
	For AppName `json:"for,omitempty"`
	// As is the environment variable with the service's URL, "" for the usual one of its kind.
	As string `json:"as,omitempty"`
	// Parameters are an object in JSON for the broker of the service, "" for none.
	Parameters string `json:"parameters,omitempty"`
	// Previous is the account that Account replaces with the same parameters, 0 for none.
	Previous int `json:"previous,omitempty"`
}

// Called is the binding's name.
func (b Binding) Called() string {
	if b.Name != "" {
		return b.Name
	}
	return string(b.Service)
}

// BindingChange changes the bindings of a release. Each field is one of the ways.
type BindingChange struct {
	Bind   []Binding           // without Account
	Unbind []AppName           // services
	Rebind map[AppName]AppName // the service to use instead of another one
	Rotate []AppName           // services at which the app gets another account
	// Parameters are those of Rebind and Rotate. With "" Rotate keeps those of the account before.
	Parameters string
}

// apply returns the bindings of release n after the change, made from those of its parent.
func (c BindingChange) apply(was []Binding, n int) ([]Binding, error) {
	bindings := slices.Clone(was)
	find := func(service AppName) (int, error) {
		i := slices.IndexFunc(bindings, func(b Binding) bool { return b.Service == service })
		if i < 0 {
			return 0, Errorf(Conflict, "service %s is not bound", service).WithHint("micro bindings APP shows which are")
		}
		return i, nil
	}
	for _, service := range c.Unbind {
		i, err := find(service)
		if err != nil {
			return nil, err
		}
		bindings = slices.Delete(bindings, i, i+1)
	}
	for _, from := range sortedKeys(c.Rebind) {
		i, err := find(from)
		if err != nil {
			return nil, err
		}
		b := &bindings[i]
		b.For = cmp.Or(b.For, from)
		b.Service, b.Account, b.Parameters, b.Previous = c.Rebind[from], n, c.Parameters, 0
	}
	for _, service := range c.Rotate {
		i, err := find(service)
		if err != nil {
			return nil, err
		}
		b := &bindings[i]
		b.Account, b.Previous = n, b.Account
		if c.Parameters != "" {
			b.Parameters, b.Previous = c.Parameters, 0
		}
	}
	for _, b := range c.Bind {
		b.Account, b.Previous = n, 0
		bindings = append(bindings, b)
	}
	return bindings, nil
}

// ChangeBindings returns the changes that make a release with other bindings, and the release. Usually that is derived from
// the current one; one derived from a staged release is staged too. For an app that never had a current release the
// bindings are kept with the app, and the release is 0: its next release starts with them.
//
// A staged release that uses another service has its release command run before its instances start, as one that takes over:
// the service may never have seen it.
func (s *State) ChangeBindings(r ReleaseRef, c BindingChange, cause string, at Stamp) ([]Change, ReleaseRef, error) {
	return s.changeBindings(r, c, false, cause, at)
}

// changeBindings is ChangeBindings; with stage the release is staged in any case.
func (s *State) changeBindings(r ReleaseRef, c BindingChange, stage bool, cause string, at Stamp) ([]Change, ReleaseRef, error) {
	if err := s.notService(r.AppRef); err != nil {
		return nil, ReleaseRef{}, err
	}
	app, rel, err := s.envOf(r)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if rel == nil && stage {
		return nil, ReleaseRef{}, Errorf(Conflict, "app %s has no release yet", r.AppRef).WithCommand("micro push --app %s", r.App)
	}
	if rel == nil {
		next := *app
		if next.Bindings, err = c.apply(app.Bindings, 0); err == nil {
			err = s.checkBindings(app.AppRef, next.Bindings, app.Env)
		}
		return []Change{Put(&next)}, app.Release(0), err
	}
	if rel.Pruned {
		return nil, ReleaseRef{}, imageless(rel)
	}
	spec := rel.Spec
	if spec.Bindings, err = c.apply(rel.Spec.Bindings, app.Last+1); err != nil {
		return nil, ReleaseRef{}, err
	}
	spec.Routes, spec.NoRoute = nil, false // they were mapped with the parent, and may have changed since
	stage = stage || rel.N != app.Current && rel.Staged
	changes, next, err := s.derive(app, rel, spec, maps.Clone(rel.Formation), stage, cause, at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	next.Prepare = stage && len(c.Rebind) > 0
	if notes := s.Review(rel.ReleaseRef); len(notes) > 0 && len(c.Rebind)+len(c.Rotate) > 0 {
		changes = append(changes, Put(&Review{ReleaseRef: next.ReleaseRef, Notes: notes})) // it is what they have seen, but for its services
	}
	return changes, next.ReleaseRef, nil
}

// BindingsOf returns the bindings of a release, and its number: 0 for those that an app's first release starts with.
func (s *State) BindingsOf(r ReleaseRef) ([]Binding, int, error) {
	app, rel, err := s.envOf(r)
	switch {
	case err != nil:
		return nil, 0, err
	case rel == nil:
		return app.Bindings, 0, nil
	}
	return rel.Spec.Bindings, rel.N, nil
}

// BindingFor returns the binding that an account of an app is for.
func (s *State) BindingFor(client AppRef, service AppName, account int) (Binding, bool) {
	for rel := range s.Releases(client) {
		for _, b := range rel.Spec.Bindings {
			if b.Service == service && b.Account == account {
				return b, true
			}
		}
	}
	return Binding{}, false
}

// checkBindings reports everything that is wrong with the bindings of an app.
func (s *State) checkBindings(app AppRef, bindings []Binding, env map[string]string) error {
	var errs []error
	names, services := map[string]bool{}, map[AppName]bool{}
	for _, b := range bindings {
		ref := AppRef{app.Group, b.Service}
		service, err := s.MustService(ref)
		switch _, known := s.App(ref); {
		case !known:
			err = Errorf(NotFound, "no service %q in group %s", b.Service, app.Group).WithCommand("micro service create KIND %s", b.Service)
		case err == nil && service.Service.Unfinished != nil:
			err = Errorf(Conflict, "service %s is being made from the data of %s", b.Service, service.Service.Unfinished.Of).WithCommand("micro service show %s", ref)
		case err == nil && service.Service.Brokered != nil && service.Service.Brokered.Unbindable:
			err = Errorf(Conflict, "apps cannot be bound to service %s: its broker says so of %s %s", b.Service, service.Service.Kind, service.Service.Version)
		case err == nil && service.Service.Brokered == nil && b.Parameters != "":
			err = Errorf(Invalid, "service %s takes no parameters of bindings: only services of brokers do", b.Service)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if services[b.Service] {
			errs = append(errs, Errorf(Conflict, "service %s is bound already", b.Service).WithCommand("micro rotate %s %s", app, b.Service))
		}
		if err := checkLabel("binding", b.Called()); err != nil {
			errs = append(errs, err)
		}
		if names[b.Called()] {
			errs = append(errs, Errorf(Conflict, "two bindings are called %q", b.Called()))
		}
		if b.As != "" {
			errs = append(errs, CheckBoundVariable(b.As))
		}
		names[b.Called()], services[b.Service] = true, true
	}
	if err := Join(errs...); err != nil {
		return err
	}
	taken := map[string]AppName{}
	for _, v := range s.variables(app.Group, bindings) {
		if _, set := env[v.name]; set {
			errs = append(errs, Errorf(Conflict, "service %s sets %s, which is a variable of %s already: unset it, or bind with --as", v.service, v.name, app).
				WithCommand("micro env %s %s-", app, v.name))
		}
		if other, twice := taken[v.name]; twice && other != v.service {
			errs = append(errs, Errorf(Conflict, "services %s and %s would both set %s", other, v.service, v.name).WithHint("bind one of them with --as"))
		}
		taken[v.name] = v.service
	}
	return Join(errs...)
}

// variable is an environment variable with a service's URL, or with something else that apps expect of such a service.
type variable struct {
	name    string
	service AppName
	index   int  // of the binding
	own     bool // it has a value of the kind's own, and not the URL
}

// variables returns the variables that bindings set: of each NAME_URL, and the one that was asked for by As. Those of
// a kind are the first such binding's without As.
func (s *State) variables(group GroupName, bindings []Binding) (all []variable) {
	usual := map[string]bool{}
	for _, b := range bindings {
		usual[b.As] = true
	}
	for i, b := range bindings {
		own := strings.ToUpper(strings.ReplaceAll(b.Called(), "-", "_")) + "_URL"
		name := b.As
		app, ok := s.App(AppRef{group, b.Service})
		if ok && name == "" && !usual[app.Service.variable()] {
			name = app.Service.variable()
			usual[name] = true
		}
		if name != "" && name != own {
			all = append(all, variable{name: name, service: b.Service, index: i})
		}
		all = append(all, variable{name: own, service: b.Service, index: i})
		if !ok || app.Service == nil || b.As != "" {
			continue
		}
		for _, further := range app.Service.Variables {
			if !usual[further] {
				usual[further] = true
				all = append(all, variable{further, b.Service, i, true})
			}
		}
	}
	return all
}

func (s *Service) variable() string {
	if s == nil {
		return ""
	}
	return s.Variable
}

// BoundTo returns the releases that run, or are about to, and are bound to a service; of apps without a release the app.
func (s *State) BoundTo(service AppRef) (refs []ReleaseRef) {
	bound := func(bindings []Binding) bool {
		return slices.ContainsFunc(bindings, func(b Binding) bool { return b.Service == service.App })
	}
	for app := range s.Apps(service.Group) {
		if bound(app.Bindings) {
			refs = append(refs, app.Release(0))
		}
		for rel := range s.Releases(app.AppRef) {
			if s.Runs(rel) && bound(rel.Spec.Bindings) {
				refs = append(refs, rel.ReleaseRef)
			}
		}
	}
	return refs
}

// BoundToProduction returns a production service that a release is bound to, the current one of the app for 0.
func (s *State) BoundToProduction(r ReleaseRef) (AppName, bool) {
	rel, ok := s.Release(r)
	if !ok {
		return "", false
	}
	for _, b := range rel.Spec.Bindings {
		if app, ok := s.App(AppRef{r.Group, b.Service}); ok && app.Service != nil && app.Service.Production {
			return b.Service, true
		}
	}
	return "", false
}

// sameBindings reports whether two releases use the same accounts.
func sameBindings(a, b *Release) bool {
	same := func(x, y Binding) int { return strings.Compare(string(x.Service), string(y.Service)) }
	return slices.Equal(slices.SortedFunc(slices.Values(a.Spec.Bindings), same), slices.SortedFunc(slices.Values(b.Spec.Bindings), same))
}

// BindingVariables returns the environment variables that each binding sets to its service's URL.
func (s *State) BindingVariables(g GroupName, bindings []Binding) [][]string {
	names := make([][]string, len(bindings))
	for _, v := range s.variables(g, bindings) {
		names[v.index] = append(names[v.index], v.name)
	}
	return names
}
