package figures

import (
	"context"
	"fmt"
	"maps"
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
	asked := f.Now()
	f.Refresh(ctx)
	c := api.Comparison{
		Host: h, Path: path, Since: f.Since(), Until: f.Now(), Releases: []api.Compared{}, Missing: f.Missing(asked),
		Fade: api.CrossfadeOf(route.Crossfade), Faded: api.FadedOf(route.Faded),
	}
	var elsewhere bool
	if c.Step, elsewhere = f.Others.Judgement(ctx, h, path); !elsewhere {
		c.Step = f.Judgement(h, path)
	}
	at := router.Place{Host: string(h), Path: path}
	shares, all, lately := view.State.Shares(route), f.At(at), f.Recent(at)
	for _, t := range shares { // a target may have had no requests yet
		all[t.ReleaseRef] = all[t.ReleaseRef].Merge(router.SeriesCounts{})
	}
	for _, release := range slices.SortedFunc(maps.Keys(all), router.CompareReleases) {
		row := f.compareRelease(ctx, view, shares, release, all[release].Total)
		row.Rate = float64(row.Requests) / max(c.Until.Sub(c.Since).Seconds(), 0.001)
		row.Minute = f.recent.lastMinute(router.SeriesName{Place: at, Release: release}, lately[release].Total, c.Until)
		c.Releases = append(c.Releases, row)
	}
	copies := f.At(router.Place{Host: string(h), Path: path, Copies: true})
	for _, release := range slices.SortedFunc(maps.Keys(copies), router.CompareReleases) {
		c.Mirrors = append(c.Mirrors, mirrored(release, copies[release].Copies))
	}
	return c, nil
}

// compareRelease returns the comparison's row of one release.
func (f *Figures) compareRelease(ctx context.Context, v cloud.View, shares []cloud.TargetShare, release cloud.ReleaseRef, total router.Counts) api.Compared {
	p50, p95, p99 := total.Latency.Quantiles()
	c := api.Compared{
		ReleaseName: api.NameOf(release), Requests: total.Requests, Errors: total.Errors, Gone: total.Gone,
		P50: milliseconds(p50), P95: milliseconds(p95), P99: milliseconds(p99),
	}
	for _, t := range shares {
		if t.ReleaseRef == release {
			c.Share = t.Percent
		}
	}
	for _, i := range v.Pool(release) {
		c.Ready++
		if st, err := f.Usage.Stats(ctx, i.ID); err == nil {
			c.CPU += st.CPU.Seconds()
			c.Memory += st.Memory
		}
	}
	return c
}

// mirrored returns the results of the requests that were copied to a mirror.
func mirrored(release cloud.ReleaseRef, m router.MirrorCounts) api.Mirrored {
	_, was, _ := m.Original.Quantiles()
	_, is, _ := m.Copy.Quantiles()
	return api.Mirrored{
		ReleaseName: api.NameOf(release), Answered: m.Answered, Differ: m.Differ, Failed: m.Failed, Dropped: m.Dropped,
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

// Judgement returns this node's judgement of a route's cross-fade, nil if there is none. Only the node that leads judges.
func (f *Figures) Judgement(h cloud.Host, path string) *api.FadeStep {
	v := f.Views.View()
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
