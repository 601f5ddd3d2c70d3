package figures

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// Totals sum up what the routers of all nodes have counted. Each router counts alone and hands its counts over to the
// nodes that ask; every node asks all others every few seconds, and before it shows figures. So each node knows the whole
// sum, and what a router has handed over outlives it. On a node that is the whole cloud nobody asks.
//
// A router's counts only grow. That makes the sums simple: of two reports of the same router the later one holds, and
// the order in which reports arrive does not matter.
type Totals struct {
	TotalsConfig
	origin Origin // of this node's router

	mu      sync.Mutex
	books   map[Origin]*book // of all other routers
	current map[cloud.NodeName]Origin
	offer   offer
	closed  bool                       // this router counts no more
	doomed  map[router.SeriesName]bool // what forget drops if it still does not exist the next time
}

// TotalsConfig is what Totals stand on. All fields are required.
type TotalsConfig struct {
	Node    cloud.NodeName
	Counted *router.Figures
	Started time.Time // when counting began
	Peers   Peers
	Now     func() time.Time
}

// Origin is one router: a process of a node. A node that starts again counts from nothing.
type Origin struct {
	Node    cloud.NodeName `json:"node"`
	Process string         `json:"process"`
}

// book has what one other router has counted.
type book struct {
	Report
	series map[router.Place]map[cloud.ReleaseRef]router.SeriesCounts
	// inherited is what the router had counted before this node first heard of it. It is part of all sums, but it is
	// not what happened of late.
	inherited map[router.SeriesName]router.SeriesCounts
	retired   time.Time // when its router was found to have ended; zero while it counts
	offered   uint64    // the version of the offer from which it is handed over to others; 0 if it is not
}

const (
	// staleAfter is when it is no longer known which requests of a router are under way.
	staleAfter = 3 * time.Second
	// keepBooks is how long the counts of a router that has ended are kept. So a node that starts every day has no
	// more than two books.
	keepBooks = 24 * time.Hour
)

// NewTotals returns totals that knows only what this node has counted.
func NewTotals(cfg TotalsConfig) *Totals {
	return &Totals{
		TotalsConfig: cfg, origin: Origin{cfg.Node, rand.Text()}, books: map[Origin]*book{}, current: map[cloud.NodeName]Origin{},
		offer: offer{series: map[router.SeriesName]offered{}},
	}
}

// At returns what all routers have counted at a place, by release.
func (t *Totals) At(p router.Place) map[cloud.ReleaseRef]router.SeriesCounts {
	return t.sum(p, func(_ *book, _ cloud.ReleaseRef, c router.SeriesCounts) router.SeriesCounts { return c })
}

// Recent returns what all routers have counted at a place since this node listens to them, by release.
func (t *Totals) Recent(p router.Place) map[cloud.ReleaseRef]router.SeriesCounts {
	now := t.Now()
	return t.sum(p, func(b *book, r cloud.ReleaseRef, c router.SeriesCounts) router.SeriesCounts {
		if first, ok := b.inherited[router.SeriesName{Place: p, Release: r}]; ok {
			c = c.Since(first)
		}
		if !b.retired.IsZero() || now.Sub(b.Heard) > staleAfter {
			c.Judged = c.Judged.Elapsed()
		}
		return c
	})
}

func (t *Totals) sum(p router.Place, part func(*book, cloud.ReleaseRef, router.SeriesCounts) router.SeriesCounts) map[cloud.ReleaseRef]router.SeriesCounts {
	sums := t.Counted.At(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.books {
		for release, c := range b.series[p] {
			sums[release] = sums[release].Merge(part(b, release, c))
		}
	}
	return sums
}

// eachRecent calls visit for each series that any router has, but copies, in no order. Where the stamp is the same as at
// an earlier time, nothing has been counted since. read returns what Recent does.
func (t *Totals) eachRecent(visit func(name router.SeriesName, stamp uint64, read func() router.Counts)) {
	type entry struct {
		stamp uint64
		read  func() router.SeriesCounts
	}
	t.mu.Lock()
	others := map[router.SeriesName][]router.SeriesCounts{}
	for _, b := range t.books {
		for place, releases := range b.series {
			for release, c := range releases {
				if place.Copies {
					continue
				}
				name := router.SeriesName{Place: place, Release: release}
				others[name] = append(others[name], router.SeriesCounts{Total: c.Total.Since(b.inherited[name].Total)})
			}
		}
	}
	t.mu.Unlock()
	show := func(name router.SeriesName, own entry) {
		parts := others[name]
		for _, p := range parts {
			own.stamp += p.Total.Requests
		}
		visit(name, own.stamp, func() router.Counts {
			sum := own.read()
			for _, p := range parts {
				sum = sum.Merge(p)
			}
			return sum.Total
		})
		delete(others, name)
	}
	t.Counted.EachSeries(func(name router.SeriesName, stamp uint64, read func() router.SeriesCounts) {
		if !name.Copies {
			show(name, entry{stamp, read})
		}
	})
	for name := range others {
		show(name, entry{0, func() router.SeriesCounts { return router.SeriesCounts{} }})
	}
}

// Since returns from when on the sums have all counts that were handed over.
func (t *Totals) Since() time.Time {
	since := t.Started
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.books {
		if b.Started.Before(since) {
			since = b.Started
		}
	}
	return since.UTC()
}

// Missing returns the routers whose last counts are not in the sums: those that ended without handing them over, and
// those that did not answer at a time.
func (t *Totals) Missing(asked time.Time) []api.MissingCounts {
	missing := []api.MissingCounts{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.books {
		if !b.Closed && (!b.retired.IsZero() || b.Heard.Before(asked)) {
			missing = append(missing, api.MissingCounts{Node: b.Node, After: b.Heard.UTC()})
		}
	}
	slices.SortFunc(missing, func(a, b api.MissingCounts) int {
		if c := strings.Compare(string(a.Node), string(b.Node)); c != 0 {
			return c
		}
		return a.After.Compare(b.After)
	})
	return missing
}

// forget drops the counts of releases and routes that did not exist the last time either, and of routers that ended long
// ago. Another node may have counted for a release before this one knew it.
func (t *Totals) forget(exists func(router.SeriesName) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	doomed := map[router.SeriesName]bool{}
	for o, b := range t.books {
		for place, releases := range b.series {
			for release := range releases {
				name := router.SeriesName{Place: place, Release: release}
				switch {
				case exists(name):
				case t.doomed[name]:
					delete(releases, release)
					delete(b.inherited, name)
				default:
					doomed[name] = true
				}
			}
			if len(releases) == 0 {
				delete(b.series, place)
			}
		}
		if !b.retired.IsZero() && t.Now().Sub(b.retired) > keepBooks {
			delete(t.books, o)
		}
	}
	t.doomed = doomed
}
