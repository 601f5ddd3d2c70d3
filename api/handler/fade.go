package handler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Defaults of a cross-fade.
const (
	defaultOver    = cloud.Duration(10 * time.Minute)
	defaultMax     = cloud.Duration(24 * time.Hour)
	defaultErrors  = 0.005
	defaultLatency = 0.2
)

func defaultSteps() []int { return []int{1, 5, 20, 50, 100} }

func (h *Handler) serveFades() {
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
	steer("abort", "Lead a route back to where it led before its cross-fade", func(s *cloud.State, h cloud.Host, path string, at cloud.Stamp) ([]cloud.Change, error) {
		return s.AbortCrossfade(h, path, "ended by "+at.By, at)
	})
	get(h, operation("compare", "GET /v1/groups/{group}/compare", "Show what the releases of a route did at the same time"),
		func(ctx context.Context, in *struct {
			GroupInput
			Host string `query:"host" required:"true" maxLength:"254"`
			Path string `query:"path" maxLength:"2048"`
		}) (api.Comparison, error) {
			host, path, err := readRoute(in.Host, in.Path)
			if err == nil {
				err = owned(h.view(ctx).State, in.Group, host)
			}
			if err != nil {
				return api.Comparison{}, err
			}
			return h.Node.Compare(ctx, host, path)
		})
}

// readFade puts the defaults where nothing is said. A cutover is a fade of one step that nothing guards.
func readFade(f api.Crossfading) (steps []int, plan cloud.FadePlan) {
	plan = cloud.FadePlan{
		Over: cmp.Or(f.Over, defaultOver), Guards: f.Guards, Errors: defaultErrors, Latency: defaultLatency,
		Max: cmp.Or(f.Max, defaultMax), OnInconclusive: cmp.Or(f.Then, cloud.InconclusiveHold),
	}
	if f.Cutover {
		plan.Over, plan.Guards, plan.Max = 0, nil, cmp.Or(f.Max, cloud.Duration(15*time.Minute))
		return []int{100}, plan
	}
	switch {
	case plan.Guards == nil:
		plan.Guards = []string{"errors", "latency"}
	case slices.Equal(plan.Guards, []string{"none"}):
		plan.Guards = nil
	}
	if f.Errors != nil {
		plan.Errors = *f.Errors
	}
	if f.Latency != nil {
		plan.Latency = *f.Latency
	}
	if steps = f.Steps; steps == nil {
		steps = defaultSteps()
	}
	return steps, plan
}
