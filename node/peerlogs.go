package node

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// cloudLogs reads the logs of all nodes as one, ordered by time.
type cloudLogs struct {
	*Node
	own logReader
}

const (
	// caughtUp is how long a node that is followed may say nothing before the lines of others are shown. So lines that
	// are older by less than that are in order.
	caughtUp = 150 * time.Millisecond
	// cursors of several nodes are joined by these, which no cursor and no node's name has.
	cursorSep, nodeSep = "|", "~"
)

// peerLine is a line, or the error that ends another node's lines.
type peerLine struct {
	api.LogLine
	Error string `json:"error,omitempty"`
}

// Read implements handler.Logs.
func (l cloudLogs) Read(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogLine, error] {
	others := l.otherNodes()
	own, rest := splitCursor(q.After, l.cfg.Name)
	if len(others) == 0 {
		q.After = own
		return l.own.Read(ctx, q)
	}
	return func(yield func(api.LogLine, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		cursors := rest
		mine := q
		mine.After = own
		sources := []*nodeLines{newNodeLines(ctx, l.cfg.Name, l.own.Read(ctx, mine))}
		for _, node := range others {
			theirs := q
			theirs.After = rest[node]
			sources = append(sources, newNodeLines(ctx, node, l.readPeer(ctx, node, theirs)))
		}
		if own != "" {
			cursors[l.cfg.Name] = own
		}
		show := func(node cloud.NodeName, line api.LogLine) bool {
			cursors[node] = line.Cursor
			line.Cursor = joinCursors(cursors)
			return yield(line, nil)
		}
		var err error
		if q.Tail >= 0 && !q.Follow {
			err = l.tail(ctx, sources, q.Tail, show)
		} else {
			err = merge(ctx, sources, q.Follow, show)
		}
		if err != nil {
			yield(api.LogLine{}, err)
		}
	}
}

// tail shows the last lines of all.
func (cloudLogs) tail(ctx context.Context, sources []*nodeLines, count int, show func(cloud.NodeName, api.LogLine) bool) error {
	type shown struct {
		node cloud.NodeName
		line api.LogLine
	}
	var last []shown
	err := merge(ctx, sources, false, func(node cloud.NodeName, line api.LogLine) bool {
		if last = append(last, shown{node, line}); len(last) > 2*count+100 {
			last = slices.Clone(last[len(last)-count:])
		}
		return true
	})
	for _, s := range last[max(0, len(last)-count):] {
		if !show(s.node, s.line) {
			return nil
		}
	}
	return err
}

// nodeLines is the lines of one node. next is the first that was not shown yet.
type nodeLines struct {
	node  cloud.NodeName
	lines chan api.LogLine
	err   error // valid when lines is closed
	next  *api.LogLine
	ended bool
}

func newNodeLines(ctx context.Context, node cloud.NodeName, seq iter.Seq2[api.LogLine, error]) *nodeLines {
	s := &nodeLines{node: node, lines: make(chan api.LogLine, 64)}
	go func() {
		defer close(s.lines)
		for line, err := range seq {
			if err != nil {
				s.err = err
				return
			}
			select {
			case s.lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	return s
}

// fill waits for the source's next line, its end, or until wait is over.
func (s *nodeLines) fill(ctx context.Context, wait <-chan time.Time) {
	if s.next != nil || s.ended {
		return
	}
	select {
	case line, ok := <-s.lines:
		if s.ended = !ok; ok {
			s.next = &line
		}
	case <-wait:
	case <-ctx.Done():
	}
}

// merge shows the lines of all sources by their times. When they are followed, a source that says nothing for a while
// does not hold up the others. A node that fails does not end the lines of the others; its error comes last.
func merge(ctx context.Context, sources []*nodeLines, follow bool, show func(cloud.NodeName, api.LogLine) bool) error {
	for ctx.Err() == nil {
		var wait <-chan time.Time
		if follow {
			timer := time.NewTimer(caughtUp)
			defer timer.Stop()
			wait = timer.C
		}
		var first *nodeLines
		open := 0
		for _, s := range sources {
			select {
			case <-wait: // the time is over for the rest too
				wait = closedTime
			default:
			}
			if s.fill(ctx, wait); !s.ended {
				open++
			}
			if s.next != nil && (first == nil || s.next.Time.Before(first.next.Time)) {
				first = s
			}
		}
		switch {
		case first != nil:
			if !show(first.node, *first.next) {
				return nil
			}
			first.next = nil
		case open == 0:
			for _, s := range sources {
				if s.err != nil {
					return s.err
				}
			}
			return nil
		}
	}
	return nil
}

// closedTime is a time that has come.
var closedTime = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// readPeer yields the lines of another node.
func (l cloudLogs) readPeer(ctx context.Context, node cloud.NodeName, q api.LogQuery) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		resp, err := l.askNode(ctx, node, http.MethodPost, "/peer/logs", nil, q)
		if err != nil {
			yield(api.LogLine{}, err)
			return
		}
		defer resp.Body.Close()
		for decoder := json.NewDecoder(resp.Body); ; {
			var line peerLine
			switch err := decoder.Decode(&line); {
			case ctx.Err() != nil:
				return
			case err != nil:
				yield(api.LogLine{}, cloud.Errorf(cloud.Unavailable, "the lines of node %s broke off: %w", node, err))
				return
			case line.Error == endOfLines:
				return
			case line.Error != "":
				yield(api.LogLine{}, cloud.Errorf(cloud.Unavailable, "node %s: %s", node, line.Error))
				return
			}
			if !yield(line.LogLine, nil) {
				return
			}
		}
	}
}

// endOfLines ends the lines of a node that has no more.
const endOfLines = "end"

// servePeerLogs sends this node's lines to another node.
func (n *Node) servePeerLogs(w http.ResponseWriter, r *http.Request) {
	var q api.LogQuery
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		answerPeer(w, nil, cloud.Errorf(cloud.Invalid, "the query of another node cannot be read: %w", err))
		return
	}
	encoder, flush := json.NewEncoder(w), http.NewResponseController(w).Flush
	_ = flush() // the head goes at once, so that the other node need not wait for a line
	for line, err := range (logReader{n.logs}).Read(r.Context(), q) {
		out := peerLine{LogLine: line}
		if err != nil {
			out.Error = err.Error()
		}
		if encoder.Encode(out) != nil || q.Follow && flush() != nil || err != nil {
			return
		}
	}
	_ = encoder.Encode(peerLine{Error: endOfLines}) // a node that is gone needs no end
}

// splitCursor returns where the node itself, and the others, are to go on.
func splitCursor(text string, self cloud.NodeName) (own string, others map[cloud.NodeName]string) {
	others = map[cloud.NodeName]string{}
	if !strings.Contains(text, nodeSep) {
		return text, others // of a time when there was one node
	}
	for part := range strings.SplitSeq(text, cursorSep) {
		node, cursor, _ := strings.Cut(part, nodeSep)
		others[cloud.NodeName(node)] = cursor
	}
	own = others[self]
	delete(others, self)
	return own, others
}

func joinCursors(cursors map[cloud.NodeName]string) string {
	var parts []string
	for node, cursor := range cursors {
		parts = append(parts, string(node)+nodeSep+cursor)
	}
	slices.Sort(parts)
	return strings.Join(parts, cursorSep)
}

// Tail implements leader.LastLines.
func (l cloudLogs) Tail(r cloud.ReleaseRef, count int) (lines []string) {
	ctx, cancel := context.WithTimeout(context.Background(), tailTimeout)
	defer cancel()
	if len(l.otherNodes()) == 0 {
		return l.logs.Tail(r, count)
	}
	for line, err := range l.Read(ctx, api.LogQuery{App: r.AppRef, Release: r.N, Tail: count}) {
		if err != nil {
			break
		}
		lines = append(lines, line.Text)
	}
	return lines
}

// tailTimeout is how long other nodes may take for a release's last lines.
const tailTimeout = 5 * time.Second
