package handler

import (
	"context"

	"github.com/protoduction/micro/cloud"
)

// need is a permission that a request takes, and what for.
type need struct {
	cloud.Permission
	cloud.Scope
}

// scoped is an operation's input that says what the request is about. An operation whose area is a group, or
// something in one, must have such an input.
type scoped interface {
	// scopes returns what the permission of the policy is asked for.
	scopes(s *cloud.State) []cloud.Scope
}

// demanding is an input that takes further permissions.
type demanding interface {
	demands(s *cloud.State) []need
}

// narrow reports whether an area needs an input that says what the request is about.
func (a area) narrow() bool { return a == inGroup || a == inApp || a == inRelease || a == inHost }

// needsOf returns all that a request takes, once it is decoded.
func needsOf(r rule, in any, s *cloud.State) (needs []need) {
	if about, ok := in.(scoped); ok && r.in.narrow() {
		for _, scope := range about.scopes(s) {
			if r.in == inApp {
				scope.Release = 0
			}
			needs = append(needs, need{r.needs, scope})
		}
	}
	if more, ok := in.(demanding); ok {
		needs = append(needs, more.demands(s)...)
	}
	return needs
}

// check reports the first need that the caller is not allowed.
func (q *request) check(s *cloud.State) error {
	switch {
	case q.in == byAnyone:
		return nil
	case q.unknown != nil:
		return q.unknown
	}
	if _, ok := s.Token(q.actor.Token); !ok && q.actor.Token != "" {
		return cloud.Errorf(cloud.Unauthenticated, "the token was revoked").WithCommand("micro login")
	}
	if q.in != inCloud && q.in != byAnyone && q.in != ofOwn {
		if err := s.MayAnywhere(q.actor); err != nil {
			return err
		}
	}
	q.mu.Lock()
	needs := q.needs
	q.mu.Unlock()
	for _, n := range needs {
		if err := s.May(q.actor, n.Permission, n.Scope); err != nil {
			return err
		}
		if n.Permission == cloud.MayDeploy && !n.Staged && n.App != "" {
			if err := s.MayMoveTraffic(q.actor); err != nil {
				return err
			}
		}
	}
	return nil
}

// need adds to what the request takes.
func (q *request) need(needs ...need) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.needs = append(q.needs, needs...)
}

// require adds a need that shows while a request is carried out.
func (h *Handler) require(ctx context.Context, p cloud.Permission, in cloud.Scope) error {
	q := requestOf(ctx)
	q.need(need{p, in})
	return h.Store.State().May(q.actor, p, in)
}

// sees returns whether the caller may read of an app, "" for what belongs to none.
func (h *Handler) sees(ctx context.Context) func(cloud.AppRef) bool {
	s, by := h.Store.State(), requestOf(ctx).actor
	known := map[cloud.AppRef]bool{}
	return func(r cloud.AppRef) bool {
		ok, asked := known[r]
		if !asked {
			ok = s.SeesApp(by, r)
			known[r] = ok
		}
		return ok
	}
}

func (in GroupInput) scopes(*cloud.State) []cloud.Scope { return []cloud.Scope{{Group: in.Group}} }

func (in AppInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.App}}
}

func (in ReleaseInput) scopes(*cloud.State) []cloud.Scope {
	ref, err := in.ref()
	if err != nil {
		return in.AppInput.scopes(nil)
	}
	return scopeOf(ref)
}

func scopeOf(r cloud.ReleaseRef) []cloud.Scope {
	return []cloud.Scope{{Group: r.Group, App: r.App, Release: r.N}}
}

func (in verbInput) scopes(*cloud.State) []cloud.Scope {
	return scopeOf(in.ref().Release(in.Body.Release))
}

func (in scaleInput) scopes(*cloud.State) []cloud.Scope {
	return scopeOf(in.ref().Release(in.Body.Release))
}

func (in logsInput) scopes(*cloud.State) []cloud.Scope {
	return scopeOf(in.ref().Release(in.Release))
}

func (in commandInput) scopes(*cloud.State) []cloud.Scope {
	return scopeOf(in.ref().Release(in.Body.Release))
}

// scopes of another environment: what is derived from a staged release is staged too, and all else becomes current.
func (in envInput) scopes(s *cloud.State) []cloud.Scope {
	rel, ok := s.Release(in.ref().Release(in.Body.Release))
	return []cloud.Scope{{Group: in.Group, App: in.App, Staged: ok && rel.Staged}}
}

func (in pushInput) scopes(s *cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.App, Staged: in.Body.Stage, Unbound: in.Body.Stage && leavesProduction(s, in.ref().Release(0), in.Body.Spec.Rebind)}}
}

// demands of a push are those of the services that it binds.
func (in pushInput) demands(*cloud.State) (needs []need) {
	for _, b := range in.Body.Spec.Services {
		needs = append(needs, useOf(in.Group, b.Service))
	}
	for _, to := range in.Body.Spec.Rebind {
		needs = append(needs, useOf(in.Group, to))
	}
	return needs
}

func (in newAppInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.Body.Name}}
}
