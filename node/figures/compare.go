package figures

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// Compare implements the API's handler.Comparer.
func (f *Figures) Compare(ctx context.Context, h cloud.Host, path string) (api.Comparison, error) {
	view := f.Views.View()
	vhost, ok := view.State.VirtualHost(h)
	if !ok {
		return api.Comparison{}, cloud.Errorf(cloud.NotFound, "no host %q is mapped", h).WithCommand("micro routes")
	}
	route, ok := vhost.Route(path)
	if !ok {
		return api.Comparison{}, cloud.Errorf(cloud.NotFound, "host %s has no route %s", h, path).WithCommand("micro routes")
	}
	c := api.Comparison{
		Host: h, Path: path, Since: f.Started.UTC(), Until: f.Now(), Releases: []api.Compared{},
		Fade: api.CrossfadeOf(route.Crossfade), Faded: api.FadedOf(route.Faded), Step: f.judgement(view, h, path),
	}
	series := f.Counted.Route(string(h), path)
	shares := view.State.Shares(route)
	for _, s := range withTargets(series, shares) {
		c.Releases = append(c.Releases, f.compareRelease(ctx, view, shares, s, routeName{string(h), path}, c.Until))
	}
	for _, m := range f.Counted.Mirrors(string(h), path) {
		c.Mirrors = append(c.Mirrors, mirrored(m))
	}
	return c, nil
}

// withTargets adds targets that have had no requests yet, and sorts the result.
func withTargets(series []router.RouteSeries, shares []cloud.TargetShare) []router.RouteSeries {
	for _, t := range shares {
		if !slices.ContainsFunc(series, func(s router.RouteSeries) bool { return s.Release == t.ReleaseRef }) {
			series = append(series, router.RouteSeries{Release: t.ReleaseRef})
		}
	}
	slices.SortFunc(series, router.RouteSeries.Compare)
	return series
}

// compareRelease returns the comparison's row of one release.
func (f *Figures) compareRelease(ctx context.Context, v cloud.View, shares []cloud.TargetShare, s router.RouteSeries, at routeName, now time.Time) api.Compared {
	p50, p95, p99 := s.Total.Latency.Quantiles()
	c := api.Compared{
		ReleaseName: api.NameOf(s.Release), Requests: s.Total.Requests, Errors: s.Total.Errors, Gone: s.Total.Gone,
		Rate: float64(s.Total.Requests) / max(now.Sub(f.Started).Seconds(), 0.001),
		P50:  milliseconds(p50), P95: milliseconds(p95), P99: milliseconds(p99),
		Minute: f.recent.lastMinute(seriesName{at, s.Release}, s.Total.Requests, s.Total.Errors, s.Total.Latency, now),
	}
	for _, t := range shares {
		if t.ReleaseRef == s.Release {
			c.Share = t.Percent
		}
	}
	for _, i := range v.Pool(s.Release) {
		c.Ready++
		if st, err := f.Usage.Stats(ctx, i.ID); err == nil {
			c.CPU += st.CPU.Seconds()
			c.Memory += st.Memory
		}
	}
	return c
}

// mirrored returns the results of the requests that were copied to a mirror.
func mirrored(m router.MirrorCounts) api.Mirrored {
	_, was, _ := m.Original.Quantiles()
	_, is, _ := m.Copy.Quantiles()
	return api.Mirrored{
		ReleaseName: api.NameOf(m.Release), Answered: m.Answered, Differ: m.Differ, Failed: m.Failed, Dropped: m.Dropped,
		OriginalP95: milliseconds(was), P95: milliseconds(is),
	}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// build is what a release is made from.
func build(v cloud.View, r cloud.ReleaseRef) api.Build {
	rel, ok := v.State.Release(r)
	if !ok {
		return api.Build{}
	}
	return api.Build{Image: rel.Spec.Image.Name, Digest: rel.Spec.Image.Digest, Commit: rel.Spec.Labels["org.opencontainers.image.revision"]}
}

// judgement returns the judgement of a route's cross-fade, or nil if there is none.
func (f *Figures) judgement(v cloud.View, h cloud.Host, path string) *api.FadeStep {
	j, ok := f.Judge.Judge(v, h, path)
	if !ok {
		return nil
	}
	s := &api.FadeStep{
		From: api.NameOf(j.Fade.From), To: api.NameOf(j.Fade.To), Since: j.Began, Old: j.Old.Requests, New: j.New.Requests,
		Verdict: string(j.Verdict), Odds: math.Round(j.Odds*100) / 100, MoreErrors: j.MoreErrors, MoreSlow: j.MoreSlow,
		Cost: math.Round(j.Cost*10) / 10, Budget: j.Fade.Budget, Rate: math.Round(j.Rate*100) / 100, Through: math.Round(j.Through.Seconds()), Caught: j.Caught,
		Proof: math.Round(j.Proof*100) / 100, Findings: []api.FadeFinding{}, Move: string(j.Decision.Move), Why: j.Decision.Why,
	}
	if j.Missing < 1e9 {
		s.Missing = math.Ceil(j.Missing)
	}
	if !j.Fade.Started.IsZero() {
		counts := j.Figures()
		s.Present = &api.PresentStep{Since: j.Step.Since, Old: counts.Old, New: counts.New, OldBuild: build(v, j.Fade.From), NewBuild: build(v, j.Fade.To)}
		s.Abort = fmt.Sprintf("routes back to %s at once; %d requests that %s is answering end there", j.Fade.From, counts.New.UnderWay, j.Fade.To)
	}
	for _, g := range j.Findings {
		s.Findings = append(s.Findings, api.FadeFinding{Guard: string(g.Guard), Verdict: string(g.Verdict), Text: g.Text})
	}
	return s
}
