package logs

import (
	"context"
	"iter"

	"github.com/protoduction/micro/cloud"
)

// Query chooses lines of one app's log.
type Query struct {
	App cloud.AppRef
	// Match says which lines; nil is all.
	Match func(Line) bool
	// After is the Cursor of a line: only what comes behind it is read.
	After string
	// Tail is how many lines from the end to begin with; below 0 is all.
	Tail int
	// Follow waits for more lines, until the reader stops.
	Follow bool
}

func (q Query) matches(l Line) bool { return q.Match == nil || q.Match(l) }

// Read yields lines in the order in which they were collected. The error is the last thing it yields,
// none where ctx ends.
func (l *Logs) Read(ctx context.Context, q Query) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		l.mu.Lock()
		j, err := l.journal(q.App)
		l.mu.Unlock()
		if err != nil {
			yield(Line{}, err)
			return
		}
		stopped := false
		hand := func(line Line) bool {
			stopped = stopped || q.matches(line) && !yield(line, nil) || ctx.Err() != nil
			return !stopped
		}
		at, more, err := j.begin(q, hand)
		for q.Follow && !stopped && err == nil {
			select {
			case <-more:
				at, more, err = j.read(at, hand)
			case <-ctx.Done():
				return
			}
		}
		if err != nil && !stopped {
			yield(Line{}, err)
		}
	}
}

// begin hands over the lines that there are, the last q.Tail of them where that is set.
func (j *journal) begin(q Query, hand func(Line) bool) (cursor, <-chan struct{}, error) {
	from := parseCursor(q.After)
	if q.Tail < 0 {
		return j.read(from, hand)
	}
	var last []Line
	at, more, err := j.read(from, func(line Line) bool {
		if q.Tail > 0 && q.matches(line) {
			if last = append(last, line); len(last) >= 2*q.Tail {
				last = append(last[:0], last[len(last)-q.Tail:]...)
			}
		}
		return true
	})
	for _, line := range last[max(0, len(last)-q.Tail):] {
		if !hand(line) {
			break
		}
	}
	return at, more, err
}

// Tail returns the texts of the lines that a release's instances wrote last, up to the moment.
func (l *Logs) Tail(r cloud.ReleaseRef, n int) []string {
	l.copyAll()
	var texts []string
	for line, err := range l.Read(context.Background(), Query{
		App: r.AppRef, Tail: n,
		Match: func(l Line) bool { return l.Release == r.N && l.Stream == App },
	}) {
		if err != nil {
			l.Log.Warn("cannot read an app's log", "app", r.AppRef.String(), "err", err)
			break
		}
		texts = append(texts, line.Text)
	}
	return texts
}
