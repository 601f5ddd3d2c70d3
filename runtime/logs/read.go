package logs

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Query chooses lines of one app's log.
type Query struct {
	App cloud.AppRef
	// Match says which lines; nil is all.
	Match func(Line) bool
	// NoRequests leaves out the router's lines without a look at them.
	NoRequests bool
	// After is the Cursor of a line: only what comes behind it is read.
	After string
	// Tail is how many lines from the end to begin with; below 0 is all.
	Tail int
	// Follow waits for more lines, until the reader stops.
	Follow bool
}

func (q Query) matches(l Line) bool { return q.Match == nil || q.Match(l) }

// Read yields lines in the order in which they were collected, those of an app and those of its requests merged
// by their times. The error is the last thing it yields, none where ctx ends.
func (l *Logs) Read(ctx context.Context, q Query) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		r, err := l.reader(q)
		if err != nil {
			yield(Line{}, err)
			return
		}
		stopped := false
		hand := func(line Line) bool {
			stopped = stopped || q.matches(line) && !yield(line, nil) || ctx.Err() != nil
			return !stopped
		}
		if q.Tail < 0 {
			r.read(hand)
		} else {
			r.tail(q, hand)
		}
		for q.Follow && !stopped && r.err() == nil {
			select {
			case <-r.own.more:
			case <-r.requests.more: // never, where they are left out
			case <-ctx.Done():
				return
			}
			r.read(hand)
		}
		if err := r.err(); err != nil && !stopped {
			yield(Line{}, err)
		}
	}
}

// reader reads an app's two logs as one.
type reader struct{ own, requests part }

// part is how far one of the logs has been read.
type part struct {
	journal *journal // nil where it is left out
	at      cursor
	shown   string // Cursor of the line that was handed over last, "" before the first
	more    <-chan struct{}
	err     error
}

func (l *Logs) reader(q Query) (*reader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var r reader
	var err error
	if r.own.journal, err = l.journal(logKey{q.App, false}); err == nil && !q.NoRequests {
		r.requests.journal, err = l.journal(logKey{q.App, true})
	}
	// "3:120,1:88" are the places in the two logs.
	own, requests, both := strings.Cut(q.After, ",")
	r.own.begin(own)
	r.requests.begin(requests)
	if p := &r.requests; own != "" && !both && p.journal != nil {
		p.begin(p.journal.last().String()) // of a time when there was one log
	}
	return &r, err
}

func (p *part) begin(after string) {
	if p.at = parseCursor(after); p.at != (cursor{}) {
		p.shown = p.at.String()
	}
}

func (r *reader) err() error {
	if r.own.err != nil {
		return r.own.err
	}
	return r.requests.err
}

// lines yields what has been added to the log since.
func (p *part) lines(yield func(Line) bool) {
	if p.journal != nil {
		p.at, p.more, p.err = p.journal.read(p.at, yield)
	}
}

// read hands over all lines that have been added since, merged by their times.
func (r *reader) read(hand func(Line) bool) {
	merge(r.own.lines, r.requests.lines, func(line Line, ofRequests bool) bool { return hand(r.show(line, ofRequests)) })
}

// show returns a line with a cursor of both logs.
func (r *reader) show(line Line, ofRequests bool) Line {
	if ofRequests {
		r.requests.shown = line.Cursor
	} else {
		r.own.shown = line.Cursor
	}
	line.Cursor = r.own.shown + "," + r.requests.shown
	return line
}

// tail hands over the last lines that q asks for, of all that there are.
func (r *reader) tail(q Query, hand func(Line) bool) {
	own, requests := r.own.last(q), r.requests.last(q)
	type shown struct {
		line       Line
		ofRequests bool
	}
	var all []shown
	merge(slices.Values(own), slices.Values(requests), func(line Line, ofRequests bool) bool {
		all = append(all, shown{line, ofRequests})
		return true
	})
	skip := max(0, len(all)-q.Tail)
	for i, s := range all {
		if line := r.show(s.line, s.ofRequests); i >= skip && !hand(line) {
			return
		}
	}
}

// last returns the last lines of the log that match, one more than q asks for: the cursors of the others count
// from it.
func (p *part) last(q Query) (last []Line) {
	keep := q.Tail + 1
	for line := range p.lines {
		if !q.matches(line) {
			continue
		}
		if last = append(last, line); len(last) >= 2*keep {
			last = slices.Delete(last, 0, len(last)-keep)
		}
	}
	if len(last) == 0 {
		p.shown = p.at.String()
	}
	return last[max(0, len(last)-keep):]
}

// merge hands over the lines of two logs by their times, each log's in their order.
func merge(own, requests iter.Seq[Line], hand func(line Line, ofRequests bool) bool) {
	next, stop := iter.Pull(requests)
	defer stop()
	request, more := next()
	for line := range own {
		for more && request.Time.Before(line.Time) {
			if !hand(request, true) {
				return
			}
			request, more = next()
		}
		if !hand(line, false) {
			return
		}
	}
	for more {
		if !hand(request, true) {
			return
		}
		request, more = next()
	}
}

// Tail returns the texts of the lines that a release's instances wrote last, up to the moment.
func (l *Logs) Tail(r cloud.ReleaseRef, n int) []string {
	l.copyAll()
	var texts []string
	for line, err := range l.Read(context.Background(), Query{
		App: r.AppRef, Tail: n, NoRequests: true,
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
