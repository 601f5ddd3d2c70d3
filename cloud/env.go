package cloud

import (
	"maps"
	"slices"
	"strconv"
)

// Create returns the changes that make an app without a release. Its environment can be set before the first
// push, and hosts can be mapped to it.
func (s *State) Create(r AppRef, at Stamp) ([]Change, error) {
	if err := s.checkNewApp(r); err != nil {
		return nil, err
	}
	if _, ok := s.App(r); ok {
		return nil, Errorf(Conflict, "app %s exists already", r).WithCommand("micro app %s", r)
	}
	return []Change{Put(&App{AppRef: r, Created: at.At})}, nil
}

// EnvChange changes an environment.
type EnvChange struct {
	Set   map[string]string
	Unset []string
	// Secret makes secrets of the variables that are set. A variable that is a secret stays one until it is unset.
	Secret bool
}

// Env returns the changes that change a release's environment, and the release that has the result. Usually that is a new release, derived from r; one derived from a staged release is staged too.
// Where the environment is already as asked for there are no changes, and the release is the one that has it.
//
// For an app that never had a current release the variables are kept with the app, and the release is 0: its
// next release starts with them.
func (s *State) Env(r ReleaseRef, c EnvChange, at Stamp) ([]Change, ReleaseRef, error) {
	if len(c.Set) == 0 && len(c.Unset) == 0 {
		return nil, ReleaseRef{}, Errorf(Invalid, "nothing to set or unset").WithCommand("micro env %s KEY=VALUE OTHER-", r)
	}
	for _, k := range c.Unset {
		if _, both := c.Set[k]; both {
			return nil, ReleaseRef{}, Errorf(Invalid, "%s is both set and unset", k).WithCommand("micro env %s", r)
		}
	}
	if _, ok := s.App(r.AppRef); !ok {
		return nil, ReleaseRef{}, Errorf(NotFound, "no app %q in group %s", r.App, r.Group).WithCommand("micro apps create %s", r.AppRef)
	}
	if err := s.notService(r.AppRef); err != nil {
		return nil, ReleaseRef{}, err
	}
	app, rel, err := s.envOf(r)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	if rel == nil {
		changes, err := app.setEnv(c)
		return changes, app.Release(0), err
	}
	if rel.Pruned {
		return nil, ReleaseRef{}, imageless(rel)
	}
	spec := rel.Spec
	spec.Env, spec.Secrets = c.apply(rel.Spec.Env, rel.Spec.Secrets)
	if maps.Equal(spec.Env, rel.Spec.Env) && slices.Equal(spec.Secrets, rel.Spec.Secrets) && rel.Failure == nil {
		return nil, rel.ReleaseRef, nil
	}
	// What the manifest said of routes has been done; they may have been changed since.
	spec.Routes, spec.NoRoute = nil, false
	if port, ok := c.Set["PORT"]; ok {
		if spec.Processes, err = withPort(rel.Spec.Processes, port); err != nil {
			return nil, ReleaseRef{}, err
		}
	}
	if err := errorsOf(spec, rel.Formation); err != nil {
		return nil, ReleaseRef{}, err
	}
	changes, next, err := s.derive(app, rel, spec, maps.Clone(rel.Formation), rel.N != app.Current && rel.Staged, "env", at)
	if err != nil {
		return nil, ReleaseRef{}, err
	}
	return changes, next.ReleaseRef, nil
}

// bindings returns the bindings of a push: those that the release would have without it, changed as the push says. A
// service that is bound already stays bound with its account.
func (d PushSpec) bindings(was []Binding, n int) ([]Binding, error) {
	c := BindingChange{Rebind: d.Rebind}
	for _, b := range d.Services {
		if !slices.ContainsFunc(was, func(o Binding) bool { return o.Service == b.Service || o.For == b.Service }) {
			c.Bind = append(c.Bind, b)
		}
	}
	return c.apply(was, n)
}

// EnvOf returns the environment of a release, the names of its secrets, and the release's number. An app that never
// had a current release has an environment of its own, with number 0: that which its next release starts with.
func (s *State) EnvOf(r ReleaseRef) (env map[string]string, secrets []string, n int, err error) {
	app, rel, err := s.envOf(r)
	switch {
	case err != nil:
		return nil, nil, 0, err
	case rel == nil:
		return app.Env, app.Secrets, 0, nil
	}
	return rel.Spec.Env, rel.Spec.Secrets, rel.N, nil
}

// envOf returns the app and the release whose environment r means: without a number the current release, or
// before there is one the release that the app is switching to. The release is nil where the app itself keeps
// the environment.
func (s *State) envOf(r ReleaseRef) (*App, *Release, error) {
	app, err := s.MustApp(r.AppRef)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case r.N != 0 || app.Current != 0:
	case app.Rollout != nil:
		r.N = app.Rollout.To
	default:
		// A staged release has its environment already: what the app were given would never reach it.
		for rel := range s.Releases(r.AppRef) {
			if rel.Staged || rel.Up {
				return nil, nil, Errorf(Conflict, "app %s has no current release; %s is staged and has an environment of its own", r.AppRef, rel.ReleaseRef).
					WithCommand("micro env %s", rel.ReleaseRef)
			}
		}
		return app, nil, nil
	}
	return s.MustRelease(r)
}

// setEnv changes the environment that the app's first release is to start with.
func (a *App) setEnv(c EnvChange) ([]Change, error) {
	next := *a
	next.Env, next.Secrets = c.apply(a.Env, a.Secrets)
	if maps.Equal(next.Env, a.Env) && slices.Equal(next.Secrets, a.Secrets) {
		return nil, nil
	}
	if err := errorsOfEnv(next.Env); err != nil {
		return nil, err
	}
	return []Change{Put(&next)}, nil
}

// apply returns an environment and its secrets' names after the change.
func (c EnvChange) apply(env map[string]string, secrets []string) (map[string]string, []string) {
	changed := maps.Clone(env)
	if changed == nil {
		changed = map[string]string{}
	}
	for _, k := range c.Unset {
		delete(changed, k)
	}
	maps.Copy(changed, c.Set)
	names := slices.Clone(secrets)
	if c.Secret {
		names = slices.AppendSeq(names, maps.Keys(c.Set))
	}
	return changed, secretNames(names, changed)
}

// secretNames returns the names of those secrets that an environment has, each once and ascending.
func secretNames(names []string, env map[string]string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(k string) bool { _, ok := env[k]; return !ok })
	slices.Sort(names)
	return slices.Compact(names)
}

// parsePort reads the value of the environment variable PORT.
func parsePort(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 65535 {
		return 0, Errorf(Invalid, "PORT %q is not a number from 1 to 65535", value).WithCommand("micro env APP PORT=8080")
	}
	return n, nil
}

func withPort(processes map[ProcessName]Process, port string) (map[ProcessName]Process, error) {
	n, err := parsePort(port)
	if err != nil {
		return nil, err
	}
	processes = maps.Clone(processes)
	if web, ok := processes[Web]; ok {
		web.Port = n
		processes[Web] = web
	}
	return processes, nil
}
