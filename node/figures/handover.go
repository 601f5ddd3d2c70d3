package figures

import (
	"context"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// Peers are the other nodes.
type Peers interface {
	// Living returns the other nodes of the cloud that are alive.
	Living() []cloud.NodeName
	// Ask asks a node for what it has counted after a cursor, and what it knows of routers that have ended.
	Ask(ctx context.Context, node cloud.NodeName, after Cursor) (Handover, error)
}

// Cursor says what the asker knows already: all that a router had offered up to a version.
type Cursor struct {
	Process string
	Version uint64
}

// Report is what one router has counted: all of it, or what an asker does not know yet.
type Report struct {
	Origin
	Started time.Time `json:"started"` // when it began to count
	Version uint64    `json:"version"` // grows with each change
	// Heard is when the router handed over its counts, by the clock of the node that asked.
	Heard time.Time `json:"heard"`
	// Closed says that the router has ended and these are its last counts.
	Closed bool     `json:"closed,omitempty"`
	Series []Series `json:"series,omitempty"`
}

// Series are the counts of one series.
type Series struct {
	router.SeriesName
	Counts router.SeriesCounts `json:"counts"`
}

// Handover is a router's answer: its own counts, and those of routers that have ended.
type Handover struct {
	Report
	Ended []Report `json:"ended,omitempty"`
}

// offer is what this router hands over, with the version of each change.
type offer struct {
	version uint64
	series  map[router.SeriesName]offered
}

// offered is a series as it was when its stamp was read.
type offered struct {
	stamp, version uint64
	counts         router.SeriesCounts
}

const (
	// askEvery is how often the leading node asks all others. A router that is killed takes with it what it has counted
	// since. A node that does not lead asks every fifth time.
	askEvery   = time.Second
	askTimeout = 2 * time.Second
)

// Close says that this node's router counts no more. What is handed over from now on is complete.
func (t *Totals) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

// Offer returns what an asker with a cursor does not know yet.
func (t *Totals) Offer(after Cursor) Handover {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after.Process != t.origin.Process {
		after.Version = 0
	}
	t.update()
	h := Handover{Report: Report{Origin: t.origin, Started: t.Started, Version: t.offer.version, Heard: t.Now(), Closed: t.closed}}
	for name, s := range t.offer.series {
		if s.version > after.Version {
			h.Series = append(h.Series, Series{name, s.counts})
		}
	}
	for _, b := range t.books {
		if b.offered > after.Version {
			h.Ended = append(h.Ended, b.whole())
		}
	}
	return h
}

// update brings the offer up to date. mu is held.
func (t *Totals) update() {
	next := t.offer.version + 1
	there := make(map[router.SeriesName]offered, len(t.offer.series))
	t.Counted.EachSeries(func(name router.SeriesName, stamp uint64, read func() router.SeriesCounts) {
		s, known := t.offer.series[name]
		if !known || s.stamp != stamp {
			s = offered{stamp, next, read()}
			t.offer.version = next
		}
		there[name] = s
	})
	t.offer.series = there
	t.retire()
	for _, b := range t.books {
		switch {
		case b.retired.IsZero():
			b.offered = 0
		case b.offered == 0:
			b.offered, t.offer.version = next, next
		}
	}
}

// retire notes which routers have ended, and which are back. mu is held.
func (t *Totals) retire() {
	living := map[cloud.NodeName]bool{}
	for _, node := range t.Peers.Living() {
		living[node] = true
	}
	for o, b := range t.books {
		switch {
		case living[o.Node] && t.current[o.Node] == o && !b.Closed:
			b.retired = time.Time{}
		case b.retired.IsZero():
			b.retired = t.Now()
		}
	}
}

// whole returns all that is known of a router.
func (b *book) whole() Report {
	r := b.Report
	r.Series = nil
	for place, releases := range b.series {
		for release, c := range releases {
			r.Series = append(r.Series, Series{router.SeriesName{Place: place, Release: release}, c})
		}
	}
	return r
}

// Refresh asks all other living nodes for what is new, and returns when each has answered or does not answer in time.
func (t *Totals) Refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var asked sync.WaitGroup
	for _, node := range t.Peers.Living() {
		asked.Go(func() { _ = t.Hear(ctx, node) }) // Missing names a node that does not answer
	}
	asked.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retire()
}

// Hear asks one node for what is new.
func (t *Totals) Hear(ctx context.Context, node cloud.NodeName) error {
	asked := t.Now()
	t.mu.Lock()
	var after Cursor
	if b := t.books[t.current[node]]; b != nil {
		after = Cursor{b.Process, b.Version}
	}
	t.mu.Unlock()
	h, err := t.Peers.Ask(ctx, node, after)
	if err == nil && h.Node != node {
		err = cloud.Errorf(cloud.Internal, "node %s answers as %s", node, h.Node)
	}
	if err != nil {
		return err
	}
	h.Heard = asked // all that was counted before is in it
	t.mu.Lock()
	defer t.mu.Unlock()
	_, met := t.current[node]
	t.current[node] = h.Origin
	t.enter(h.Report, !met)
	for _, r := range h.Ended {
		if r.Origin != t.origin {
			t.enter(r, true)
		}
	}
	return nil
}

// enter enters a report. earlier says that a router that is new was counting before this node listened to it. mu is held.
func (t *Totals) enter(r Report, earlier bool) {
	b := t.books[r.Origin]
	known := b != nil
	if !known {
		b = &book{series: map[router.Place]map[cloud.ReleaseRef]router.SeriesCounts{}, inherited: map[router.SeriesName]router.SeriesCounts{}}
		t.books[r.Origin] = b
	}
	if known && r.Version < b.Version {
		return // an answer that another one has overtaken
	}
	if known && (r.Version > b.Version || r.Closed != b.Closed) {
		b.offered = 0 // others get it again
	}
	for _, s := range r.Series {
		if b.series[s.Place] == nil {
			b.series[s.Place] = map[cloud.ReleaseRef]router.SeriesCounts{}
		}
		b.series[s.Place][s.Release] = s.Counts
		if !known && earlier {
			b.inherited[s.SeriesName] = s.Counts
		}
	}
	r.Closed, r.Series = r.Closed || b.Closed, nil
	if r.Heard.Before(b.Heard) {
		r.Heard = b.Heard
	}
	b.Report = r
}

// Run asks all other nodes until ctx ends: every second while this node leads, and so judges cross-fades.
func (t *Totals) Run(ctx context.Context, leads func() bool) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if leads() || turn%5 == 0 {
				t.Refresh(ctx)
			}
		}
	}
}
