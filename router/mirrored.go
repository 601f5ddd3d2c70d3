package router

import (
	"slices"
	"sync"

	"github.com/protoduction/micro/cloud"
)

// mirrorTallies count copies. They are locked: a copy is nothing that anybody waits for.
type mirrorTallies struct {
	mu  sync.Mutex
	all map[mirrorKey]*mirrorTally
}

type mirrorKey struct {
	routeKey
	release cloud.ReleaseRef
}

type mirrorTally struct {
	counts             MirrorCounts
	original, mirrored Histogram
}

// MirrorCounts are copies and what became of them.
type MirrorCounts struct {
	Release  cloud.ReleaseRef // that the copies went to
	Answered uint64
	Differ   uint64 // of those that were answered: with another status than the original
	Failed   uint64 // got no answer
	Dropped  uint64 // were not sent, because too many were under way
	// The times until the answer's head was there, of originals and copies that both were answered.
	Original, Copy Snapshot
}

var _ MirrorRecorder = (*Figures)(nil)

// RecordMirror counts a copy.
func (f *Figures) RecordMirror(m *Mirrored) {
	f.byMirror.mu.Lock()
	defer f.byMirror.mu.Unlock()
	k := mirrorKey{routeKey{m.RouteHost, m.RoutePath}, m.Release}
	t := f.byMirror.all[k]
	if t == nil {
		t = &mirrorTally{counts: MirrorCounts{Release: m.Release}}
		if f.byMirror.all == nil {
			f.byMirror.all = map[mirrorKey]*mirrorTally{}
		}
		f.byMirror.all[k] = t
	}
	t.record(m)
}

func (t *mirrorTally) record(m *Mirrored) {
	switch {
	case m.Error == dropped:
		t.counts.Dropped++
		return
	case m.Error != "":
		t.counts.Failed++
		return
	}
	t.counts.Answered++
	if m.Original == 0 {
		return // there is nothing to hold it against
	}
	if m.Status != m.Original {
		t.counts.Differ++
	}
	t.original.Add(m.Took)
	t.mirrored.Add(m.First)
}

// Mirrors returns what became of a route's copies so far, by app and release.
func (f *Figures) Mirrors(host, path string) []MirrorCounts {
	f.byMirror.mu.Lock()
	defer f.byMirror.mu.Unlock()
	var out []MirrorCounts
	for k, t := range f.byMirror.all {
		if k.routeKey == (routeKey{host, path}) {
			out = append(out, t.snapshot())
		}
	}
	sortMirrors(out)
	return out
}

// AllMirrors returns what became of all copies so far, by app and release.
func (f *Figures) AllMirrors() []MirrorCounts {
	f.byMirror.mu.Lock()
	defer f.byMirror.mu.Unlock()
	sum := map[cloud.ReleaseRef]MirrorCounts{}
	for k, t := range f.byMirror.all {
		sum[k.release] = sum[k.release].merge(t.snapshot())
	}
	var out []MirrorCounts
	for _, c := range sum {
		out = append(out, c)
	}
	sortMirrors(out)
	return out
}

// each returns the counts of all copies.
func (t *mirrorTallies) each() map[mirrorKey]MirrorCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[mirrorKey]MirrorCounts, len(t.all))
	for k, one := range t.all {
		out[k] = one.snapshot()
	}
	return out
}

func sortMirrors(list []MirrorCounts) {
	slices.SortFunc(list, func(a, b MirrorCounts) int {
		return CompareReleases(a.Release, b.Release)
	})
}

func (t *mirrorTally) snapshot() MirrorCounts {
	c := t.counts
	c.Original, c.Copy = t.original.Snapshot(), t.mirrored.Snapshot()
	return c
}

// forget drops the copies of routes and to releases that keep says no to.
func (t *mirrorTallies) forget(keep func(routeKey, cloud.ReleaseRef) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.all {
		if !keep(k.routeKey, k.release) {
			delete(t.all, k)
		}
	}
}
