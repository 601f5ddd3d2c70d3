package handler

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// request is what is known of the request that a context belongs to.
type request struct {
	actor cloud.Actor
	// unknown says why the caller is not known, nil for one that is.
	unknown error
	in      area
	// until is when the caller's token expires, the zero time for who shows none.
	until time.Time
	// needs are the permissions that the request takes, as far as they are known.
	mu    sync.Mutex
	needs []need
	id    string
	r     *http.Request
	w     *answer
	// upload is the body that the operation reads as an upload, nil for none.
	upload *uploadBody
}

type requestKey struct{}

func requestOf(ctx context.Context) *request { return ctx.Value(requestKey{}).(*request) }

// noDeadline takes the deadline off the connection that the request's body had: net/http would take its
// passing for the client's leaving.
func (q *request) noDeadline() {
	// A writer without deadlines has none to take off.
	_ = http.NewResponseController(q.w).SetReadDeadline(time.Time{})
}

// answer remembers whether an answer has begun. With hold it keeps all of it until send.
type answer struct {
	http.ResponseWriter
	begun bool
	hold  bool

	status int
	held   bytes.Buffer
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.hold {
		a.status = status
		return
	}
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.hold {
		return a.held.Write(p)
	}
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// send writes an answer that was held, with its length, so that the client knows where it ends although the
// exchange has not ended yet.
func (a *answer) send() {
	a.hold = false
	a.Header().Set("Content-Length", strconv.Itoa(a.held.Len()))
	a.WriteHeader(cmp.Or(a.status, http.StatusOK))
	_, _ = a.Write(a.held.Bytes()) // a client that is gone needs no answer
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w}
	q := &request{id: rand.Text(), w: a}
	a.Header().Set("X-Request-Id", q.id)
	a.Header().Set("X-Content-Type-Options", "nosniff")
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if fault == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			panic(fault)
		}
		h.Log.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "request", q.id, "err", fault, "stack", string(debug.Stack()))
		if a.begun {
			panic(http.ErrAbortHandler) // the client must see that the answer is not whole
		}
		a.hold = false
		h.refuse(q, cloud.Errorf(cloud.Internal, "something went wrong inside micro"))
	}()
	q.r = r
	q.actor, q.until, q.unknown = h.caller(r)
	q.actor.RequestID = q.id
	if q.unknown != nil && !forAnyone(r) {
		h.refused(q, "connect", q.unknown)
		h.refuse(q, q.unknown)
		return
	}
	q.r = r.WithContext(context.WithValue(r.Context(), requestKey{}, q))
	if _, pattern := h.mux.Handler(q.r); pattern == "" {
		h.answerUnknown(q)
		return
	}
	h.mux.ServeHTTP(a, q.r)
	if q.upload != nil {
		a.send()
		q.upload.linger(h.stopping)
	}
}

// forAnyone reports whether a request is one to log in: nobody is known before.
func forAnyone(r *http.Request) bool {
	return r.URL.Path == "/v1/login" || strings.HasPrefix(r.URL.Path, "/v1/login/")
}

// refused notes a request that was not allowed.
func (h *Handler) refused(q *request, operation string, err error) {
	if strings.HasPrefix(operation, "login") {
		return // whoever checks passwords has noted it
	}
	if code := cloud.CodeOf(err); code == cloud.Denied || code == cloud.Unauthenticated {
		h.refusals.note(h.Log, q.actor, q.r)
		h.Store.Refused(q.actor, operation, q.r.URL.Path)
	}
}

// refusals are callers that are not allowed what they ask for. A flood of them must not load the log.
type refusals struct {
	mu    sync.Mutex
	last  time.Time
	since int // how many went unmentioned
}

// refusalsEvery is how often a refusal is written down; those in between are counted.
const refusalsEvery = time.Second

func (f *refusals) note(log *slog.Logger, a cloud.Actor, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) < refusalsEvery {
		f.since++
		return
	}
	log.Warn("refused", "by", a.Name, "source", a.Source, "method", r.Method, "path", r.URL.Path, "others", f.since)
	f.last, f.since = time.Now(), 0
}

// refuse answers with an error.
func (h *Handler) refuse(q *request, err error) {
	p := api.ProblemOf(err)
	p.RequestID = q.id
	if p.Code == cloud.Unauthenticated {
		q.w.Header().Set("WWW-Authenticate", "Bearer")
	}
	api.WriteProblem(q.w, p)
}

// answerUnknown answers a request for an unknown path or method.
func (h *Handler) answerUnknown(q *request) {
	var probe headerOnly
	h.mux.ServeHTTP(&probe, q.r)
	p := api.ProblemOf(cloud.Errorf(cloud.NotFound, "the API has no %s %s", q.r.Method, q.r.URL.Path).WithHint("see /v1/openapi.json"))
	p.RequestID = q.id
	if allow := probe.Header()["Allow"]; allow != nil {
		q.w.Header()["Allow"] = allow
	}
	api.WriteProblem(q.w, p)
}

// headerOnly is a writer that keeps nothing but the header.
type headerOnly struct{ header http.Header }

func (h *headerOnly) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}

func (h *headerOnly) WriteHeader(int)             {}
func (h *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
