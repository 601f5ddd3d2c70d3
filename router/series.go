package router

import (
	"github.com/protoduction/micro/cloud"
)

// Place is what requests are counted by: a route of a mapped host, or the copies that its mirrors get. The zero Place is
// all addresses of a release.
type Place struct {
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	Copies bool   `json:"copies,omitempty"`
}

// SeriesName names counts that belong together: those of a release at a place.
type SeriesName struct {
	Place
	Release cloud.ReleaseRef `json:"release"`
}

// SeriesCounts are the counts of a series. They only grow, unless they were forgotten in between.
type SeriesCounts struct {
	Total Counts `json:"total,omitzero"`
	// Judged leaves out requests that chose their release, and the latency of each instance's first ones. Only routes
	// have it.
	Judged Counts `json:"judged,omitzero"`
	// Copies are counted at a Place with Copies alone.
	Copies MirrorCounts `json:"copies,omitzero"`
}

// Merge returns the sum of both.
func (c SeriesCounts) Merge(o SeriesCounts) SeriesCounts {
	return SeriesCounts{c.Total.Merge(o.Total), c.Judged.Merge(o.Judged), c.Copies.merge(o.Copies)}
}

// Since returns what was counted after an earlier time.
func (c SeriesCounts) Since(earlier SeriesCounts) SeriesCounts {
	return SeriesCounts{c.Total.Since(earlier.Total), c.Judged.Since(earlier.Judged), c.Copies}
}

// EachSeries calls visit for each series, in no order. Where the stamp is the same as at an earlier time, nothing has been
// counted since. It costs little as long as read, which returns the counts, is not called.
func (f *Figures) EachSeries(visit func(name SeriesName, stamp uint64, read func() SeriesCounts)) {
	for release, s := range *f.byRelease.Load() {
		if release.N != 0 {
			visit(SeriesName{Release: release}, s.Requests.Load(), s.counts)
		}
	}
	for i := range f.byRoute.parts {
		routes := f.byRoute.parts[i].Load()
		if routes == nil {
			continue
		}
		for k, route := range *routes {
			for _, t := range *route.releases.Load() {
				visit(SeriesName{Place{Host: k.host, Path: k.path}, t.release}, t.stamp(), t.counts)
			}
		}
	}
	for k, c := range f.byMirror.each() {
		visit(SeriesName{Place{k.host, k.path, true}, k.release}, c.Answered+c.Failed+c.Dropped, func() SeriesCounts { return SeriesCounts{Copies: c} })
	}
}

// At returns the counts at a place, by release.
func (f *Figures) At(p Place) map[cloud.ReleaseRef]SeriesCounts {
	out := map[cloud.ReleaseRef]SeriesCounts{}
	switch {
	case p == Place{}:
		for release, s := range *f.byRelease.Load() {
			if release.N != 0 {
				out[release] = s.counts()
			}
		}
	case p.Copies:
		for _, m := range f.Mirrors(p.Host, p.Path) {
			out[m.Release] = SeriesCounts{Copies: m}
		}
	default:
		for _, t := range f.byRoute.list(routeKey{p.Host, p.Path}) {
			out[t.release] = t.counts()
		}
	}
	return out
}

// stamp changes with each count. It is read before the counts: if one comes meanwhile, the stamp is too old, never too new.
func (t *tally) stamp() uint64 {
	return t.judged.requests.Load() + t.chosen.requests.Load() + t.started.Load() + t.ended.Load()
}

func (t *tally) counts() SeriesCounts { return SeriesCounts{Total: t.all(), Judged: t.judgedCounts()} }

// counts returns what was counted for the release.
func (s *Series) counts() SeriesCounts {
	c := Counts{Errors: s.Errors.Load(), Gone: s.Gone.Load(), Latency: s.Latency.Snapshot()}
	for i := range s.Classes {
		c.Classes[i] = s.Classes[i].Load()
	}
	c.Requests = s.Requests.Load() // last, so that there are never more errors than requests
	return SeriesCounts{Total: c}
}

// Since returns what was counted after an earlier time. A count that is smaller than then was forgotten in between.
func (c Counts) Since(o Counts) Counts {
	less := func(a, b uint64) uint64 { return a - min(a, b) }
	c.Requests, c.Errors, c.Gone = less(c.Requests, o.Requests), less(c.Errors, o.Errors), less(c.Gone, o.Gone)
	c.Started, c.Ended = less(c.Started, o.Started), less(c.Ended, o.Ended)
	for i, n := range o.Classes {
		c.Classes[i] = less(c.Classes[i], n)
	}
	for i, n := range o.Sizes {
		c.Sizes[i] = less(c.Sizes[i], n)
	}
	c.Latency, c.Given = c.Latency.Since(o.Latency), c.Given.Since(o.Given)
	c.Clients = c.Clients.Since(o.Clients)
	return c
}

// merge returns the sum of both.
func (c MirrorCounts) merge(o MirrorCounts) MirrorCounts {
	if c.Release.App == "" {
		c.Release = o.Release
	}
	return MirrorCounts{
		c.Release, c.Answered + o.Answered, c.Differ + o.Differ, c.Failed + o.Failed, c.Dropped + o.Dropped,
		c.Original.Merge(o.Original), c.Copy.Merge(o.Copy),
	}
}

// Elapsed returns c as if all of its requests had ended: what runs on a router that no longer answers is not known.
func (c Counts) Elapsed() Counts {
	c.Ended = c.Started
	return c
}
