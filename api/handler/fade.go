package handler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Comparer compares the releases of a route.
type Comparer interface {
	// Compare returns what the releases of a route did at the same time.
	Compare(ctx context.Context, h cloud.Host, path string) (api.Comparison, error)
}

// Passes let public clients choose a release.
type Passes interface {
	// Pass returns a value that lets a public client choose a release of a host until a time.
	Pass(h cloud.Host, r cloud.ReleaseRef, until time.Time) string
}

func (h *Handler) serveFades() {
	h.serveRecords()
	mapping(h, "crossfade", "Begin to move a route to another release, in steps",
		func(s *cloud.State, g cloud.GroupName, f api.Crossfading, at cloud.Stamp) ([]cloud.Change, string, error) {
			host, path, err := readRoute(f.Host, f.Path)
			if err == nil {
				err = owned(s, g, host)
			}
			if err != nil {
				return nil, "", err
			}
			steps, plan := readFade(f)
			if len(f.Rebind) > 0 {
				changes, _, err := s.RebindCrossfade(host, path, cloud.AppRef{Group: g, App: f.App}.Release(f.Release), f.Rebind, steps, plan, f.Force, at)
				return changes, hostPath(host, path), err
			}
			changes, err := s.BeginCrossfade(host, path, cloud.AppRef{Group: g, App: f.App}.Release(f.Release), steps, plan, f.Force, at)
			return changes, hostPath(host, path), err
		})
	steer := func(verb, summary string, do func(s *cloud.State, h cloud.Host, path string, at cloud.Stamp) ([]cloud.Change, error)) {
		mapping(h, "crossfade-"+verb, summary,
			func(s *cloud.State, g cloud.GroupName, f api.Fading, at cloud.Stamp) ([]cloud.Change, string, error) {
				host, path, err := readRoute(f.Host, f.Path)
				if err == nil {
					err = owned(s, g, host)
				}
				if err != nil {
					return nil, "", err
				}
				changes, err := do(s, host, path, at)
				return changes, hostPath(host, path), err
			})
	}
	steer("pause", "Hold a cross-fade at its step", func(s *cloud.State, h cloud.Host, path string, at cloud.Stamp) ([]cloud.Change, error) {
		return s.PauseCrossfade(h, path, true, at)
	})
	steer("resume", "Let a held cross-fade go on", func(s *cloud.State, h cloud.Host, path string, at cloud.Stamp) ([]cloud.Change, error) {
		return s.PauseCrossfade(h, path, false, at)
	})
	steer("abort", "Route a host back to the targets from before its cross-fade", func(s *cloud.State, h cloud.Host, path string, at cloud.Stamp) ([]cloud.Change, error) {
		return s.AbortCrossfade(h, path, "ended by "+at.By, nil, at)
	})
	get(h, operation("compare", "GET /v1/groups/{group}/compare", "Show what the releases of a route did at the same time"),
		func(ctx context.Context, in *routeInput) (api.Comparison, error) {
			host, path, err := readRoute(in.Host, in.Path)
			if err == nil {
				err = owned(h.view(ctx).State, in.Group, host)
			}
			if err != nil {
				return api.Comparison{}, err
			}
			return h.Compare.Compare(ctx, host, path)
		})
}

type routeInput struct {
	GroupInput
	Host string `query:"host" required:"true" maxLength:"254"`
	Path string `query:"path" maxLength:"2048" doc:"Missing: /"`
}

// serveRecords shows how cross-fades went.
func (h *Handler) serveRecords() {
	get(h, operation("fades", "GET /v1/groups/{group}/fades", "Show how the cross-fades of a route or to a release went, the oldest first"),
		func(ctx context.Context, in *struct {
			GroupInput
			Host    string        `query:"host" maxLength:"254" doc:"Those of this host; or app and release"`
			Path    string        `query:"path" maxLength:"2048"`
			App     cloud.AppName `query:"app" maxLength:"63"`
			Release int           `query:"release" doc:"Missing: whatever is current"`
		}) (api.List[api.FadeRecord], error) {
			s := h.view(ctx).State
			if in.Host == "" {
				_, rel, err := s.MustRelease(cloud.AppRef{Group: in.Group, App: in.App}.Release(in.Release))
				if err != nil {
					return api.List[api.FadeRecord]{}, err
				}
				return records(s.FadesOf(rel.ReleaseRef)), nil
			}
			host, path, err := readRoute(in.Host, in.Path)
			if err == nil {
				err = owned(s, in.Group, host)
			}
			if err != nil {
				return api.List[api.FadeRecord]{}, err
			}
			found, err := s.FadesTo(host, path)
			return records(found), err
		})
}

func records(found []cloud.FadeRecord) api.List[api.FadeRecord] {
	shown := make([]api.FadeRecord, 0, len(found))
	for _, r := range found {
		shown = append(shown, api.FadeRecordOf(r))
	}
	return whole(shown)
}

// longestPass is how long a pass may be good for.
const longestPass = 30 * 24 * time.Hour

func (h *Handler) servePasses() {
	get(h, operation("pass", "POST /v1/groups/{group}/routes/pass", "Make a pass, which lets a public client choose a release of a host"),
		func(ctx context.Context, in *hostInput[api.PassRequest]) (api.Pass, error) {
			s := h.view(ctx).State
			host, _, err := readRoute(in.Body.Host, "")
			if err == nil {
				err = owned(s, in.Group, host)
			}
			if err != nil {
				return api.Pass{}, err
			}
			app := cloud.AppRef{Group: in.Group, App: in.Body.App}
			good := time.Duration(cmp.Or(in.Body.For, cloud.Duration(time.Hour)))
			if good <= 0 || good > longestPass {
				return api.Pass{}, cloud.Errorf(cloud.Invalid, "a pass must be valid for more than 0s and at most %s", longestPass)
			}
			_, rel, err := s.MustRelease(app.Release(in.Body.Release))
			if err != nil {
				return api.Pass{}, err
			}
			if !s.Runs(rel) {
				return api.Pass{}, cloud.Errorf(cloud.Conflict, "release %s does not run", rel.ReleaseRef).WithCommand("micro start %s", rel.ReleaseRef)
			}
			if !slices.ContainsFunc(slices.Collect(s.HostsOf(app)), func(vhost *cloud.VirtualHost) bool { return vhost.Host == host }) {
				return api.Pass{}, cloud.Errorf(cloud.Conflict, "%s does not route to app %s", host, app).WithCommand("micro map %s %s", app.App, host)
			}
			until := h.Now().Add(good).UTC().Truncate(time.Second)
			return api.Pass{Header: "X-Micro-Release", Value: h.Passes.Pass(host, rel.ReleaseRef, until), Until: until}, nil
		})
}

// readFade returns the steps and the plan that a request asks for, with defaults where it says nothing.
func readFade(f api.Crossfading) (steps []int, plan cloud.FadePlan) {
	plan = cloud.DefaultFade()
	if f.Cutover {
		steps, plan = cloud.CutoverFade()
	}
	plan.Max, plan.OnInconclusive = cmp.Or(f.Max, plan.Max), cmp.Or(f.Then, plan.OnInconclusive)
	if f.Cutover {
		return steps, plan
	}
	plan.Unit = f.Unit
	if len(f.Steps) > 0 {
		plan.Over = cloud.DefaultStepsOver
	}
	plan.Over = cmp.Or(f.Over, plan.Over)
	switch {
	case slices.Equal(f.Guards, []string{"none"}):
		plan.Guards = nil
	case f.Guards != nil:
		plan.Guards = f.Guards
	}
	for given, field := range map[*float64]*float64{f.Errors: &plan.Errors, f.Latency: &plan.Latency} {
		if given != nil {
			*field = *given
		}
	}
	if f.Budget != nil {
		plan.Budget = *f.Budget
	}
	return f.Steps, plan
}
