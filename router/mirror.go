package router

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// A copy may take mirrorLimit, and the numbers of concurrent copies are limited: a mirror that hangs affects only the
	// copies of its route, and no user.
	mirrorLimit      = 10 * time.Second
	maxMirroredRoute = 64
	maxMirrored      = 256
	// What is larger is not copied, or not read to its end.
	maxMirrorHead = 16 << 10
	maxMirrorBody = 8 << 20
)

// mirror is the pool that gets copies of a share of a route's safe requests.
type mirror struct {
	percent uint64 // 1 to 100
	pool    *Pool
}

// Mirrored is the result of a copy, with that of its original.
type Mirrored struct {
	RouteHost, RoutePath string           // as in Exchange
	Release              cloud.ReleaseRef // that the copy went to

	Original int // the original's status; 0 where it got no answer of the app's
	Took     time.Duration

	Status int           // the copy's; 0 where there was no answer
	First  time.Duration // until the copy's answer was there
	// Error says why there was none: "dropped" where too many were under way, "no_endpoints",
	// "endpoint_failure", "endpoint_timeout".
	Error string
}

// MirrorRecorder records copies. Many goroutines call it concurrently.
type MirrorRecorder interface{ RecordMirror(*Mirrored) }

// mirrors are the copies under way.
type mirrors struct {
	recorder MirrorRecorder
	free     sync.Pool // of *shadow
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	n      int
	wires  map[*wire]bool
}

// shadow is one copy.
type shadow struct {
	Mirrored
	head  []byte
	probe http.Request // says to the reader of the answer what was asked
	pool  *Pool
	turns *turns
}

const mirrorField = "X-Micro-Mirror: 1\r\n\r\n"

// dropped is the error of a copy that was not sent.
const dropped = "dropped"

// copy keeps the request's head, written in x.buf, where it is the turn of a copy. Only what is safe is
// copied (RFC 9110, section 9.2.1), and only what has no body and stays HTTP.
func (x *exchange) copy() {
	m := x.route.mirror
	switch string(x.req.Method) {
	case "GET", "HEAD":
	default:
		return
	}
	if x.upgrade || x.Pinned || x.req.Length > 0 || len(x.buf) > maxMirrorHead {
		return
	}
	// In a hundred requests as many are copied as percent, spread evenly.
	if n := x.route.turns.copies.Add(1) - 1; schedule(n, 100, 61, 0, false) >= m.percent {
		return
	}
	x.copyOf = x.route // it may take another one, of a later table
	x.copied = append(append(x.copied, x.buf[:len(x.buf)-2]...), mirrorField...)
}

// mirror sends the copy, now that the original has its answer.
func (x *exchange) mirror() {
	r, m, turns := x.c.r, x.copyOf.mirror, x.copyOf.turns
	s, ok := r.mirrors.free.Get().(*shadow)
	if !ok {
		s = new(shadow)
	}
	s.Mirrored = Mirrored{RouteHost: x.RouteHost, RoutePath: x.RoutePath, Release: m.pool.Release, Took: x.First}
	if x.Error == "" {
		s.Original = x.Status
	}
	s.head, x.copied = x.copied, s.head[:0]
	s.probe.Method = "GET"
	if x.req.NoBody {
		s.probe.Method = "HEAD"
	}
	s.pool, s.turns = m.pool, turns
	if turns.underWay.Add(1) > maxMirroredRoute || !r.mirrors.begin() {
		s.Error = dropped
		r.endMirror(s)
		return
	}
	go func() {
		defer r.mirrors.end()
		s.Error = r.send(s)
		r.endMirror(s)
	}()
}

func (r *Router) endMirror(s *shadow) {
	s.turns.underWay.Add(-1)
	if r.mirrors.recorder != nil {
		r.mirrors.recorder.RecordMirror(&s.Mirrored)
	}
	s.pool, s.turns = nil, nil
	r.mirrors.free.Put(s)
}

// send sends a copy and reads its answer to the end; it returns why there was none.
func (r *Router) send(s *shadow) string {
	begun := r.now()
	until := begun + int64(mirrorLimit)
	e := s.pool.claim(r.random(), begun, nil)
	if e == nil {
		return faultNoEndpoints.code
	}
	defer e.release()
	w := e.take(r.now(), until, nil, true)
	if w == nil {
		var err error
		if w, err = r.connect(e, false); err != nil {
			if cloud.Shortage(err) {
				return dropped
			}
			return faultConnect.code
		}
		w.read.arm(until)
	}
	if !r.mirrors.hold(w) {
		w.close()
		return faultBroken.code
	}
	defer r.mirrors.drop(w)
	if _, err := w.send(s.head, mirrorLimit); err != nil {
		w.close()
		return faultBroken.code
	}
	in := &io.LimitedReader{R: w, N: maxMirrorHead * 4}
	answer := bufio.NewReader(in)
	res, err := http.ReadResponse(answer, &s.probe)
	for err == nil && res.StatusCode < 200 && res.StatusCode != 101 {
		res, err = http.ReadResponse(answer, &s.probe)
	}
	if err != nil {
		w.close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return codeTimeout
		}
		return faultBroken.code
	}
	s.Status, s.First = res.StatusCode, time.Duration(r.now()-begun)
	in.N = maxMirrorBody
	_, err = io.Copy(io.Discard, res.Body)
	// Whether a body follows an answer that has none is in doubt (see inDoubt).
	doubtful := s.probe.Method == "HEAD" || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	if err != nil || in.N <= 0 || doubtful || res.Close || res.StatusCode == 101 || answer.Buffered() > 0 {
		w.close()
		return ""
	}
	now := r.now()
	e.give(w, now, now+int64(r.limits().upstreamIdle))
	return ""
}

// begin counts a copy in; false where there are too many, or no more are to be.
func (m *mirrors) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.n >= maxMirrored {
		return false
	}
	m.n++
	m.running.Add(1)
	return true
}

func (m *mirrors) end() {
	m.mu.Lock()
	m.n--
	m.mu.Unlock()
	m.running.Done()
}

// hold notes the connection of a copy, so that close can cut it; false after that.
func (m *mirrors) hold(w *wire) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.wires[w] = true
	}
	return !m.closed
}

func (m *mirrors) drop(w *wire) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.wires, w)
}

// close cuts the copies under way, for which nobody waits, and returns when they have ended.
func (m *mirrors) close() {
	m.mu.Lock()
	m.closed = true
	for w := range m.wires {
		w.cancelRead()
	}
	m.mu.Unlock()
	m.running.Wait()
}
