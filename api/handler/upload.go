package handler

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
)

const (
	// uploadTimeout is how long an upload may take.
	uploadTimeout = 30 * time.Minute
	// uploadIdle is how long an upload may bring nothing.
	uploadIdle = time.Minute
	// lingerTimeout is how long a client may go on sending what is not read any more.
	lingerTimeout = 30 * time.Second
)

// upload describes a request body that is not JSON.
func upload(op huma.Operation, what string) huma.Operation {
	op.RequestBody = &huma.RequestBody{
		Required: true, Description: what,
		Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
	return op
}

// uploadBody is the body of an upload. It ends when no data comes for uploadIdle, and with stop.
type uploadBody struct {
	r    io.Reader
	conn *http.ResponseController
	end  time.Time

	mu      sync.Mutex
	stopped bool
	read    bool // what comes from now on is read by linger
}

// uploadOf returns the request's body, and has its answer sent even if the body is not read to its end.
func (q *request) uploadOf() *uploadBody {
	b := &uploadBody{r: q.r.Body, conn: http.NewResponseController(q.w), end: time.Now().Add(uploadTimeout)}
	// Without it net/http would first read on before it answers, and a client that is refused would only see
	// that its connection breaks. A test's writer has neither this nor deadlines.
	_ = b.conn.EnableFullDuplex()
	q.upload, q.w.hold = b, true
	return b
}

func (b *uploadBody) Read(p []byte) (int, error) {
	if err := b.extend(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

// extend gives the next read its time.
func (b *uploadBody) extend() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return os.ErrDeadlineExceeded
	}
	until := time.Now().Add(uploadIdle)
	if b.end.Before(until) {
		until = b.end
	}
	_ = b.conn.SetReadDeadline(until)
	return nil
}

// stop makes the Read under way and all later ones fail. It may be called from another goroutine.
func (b *uploadBody) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped = true; !b.read {
		_ = b.conn.SetReadDeadline(time.Now())
	}
}

// linger reads what a client still sends behind its answer, for a while or until the node stops. Were the
// connection closed at once, a client that writes would meet a broken pipe before it reads its answer.
func (b *uploadBody) linger(stopping <-chan struct{}) {
	b.mu.Lock()
	b.read = true
	_ = b.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
	b.mu.Unlock()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stopping:
			_ = b.conn.SetReadDeadline(time.Now())
		case <-done:
		}
	}()
	_, _ = io.Copy(io.Discard, b.r) // the client has its answer
}

// receive has an upload or a list read, until the push or the node ends.
func (h *Handler) receive(ctx context.Context, id string, read func(ctx context.Context, id string, body io.Reader, stop func()) (api.Push, error)) (api.Push, error) {
	q := requestOf(ctx)
	defer q.noDeadline()
	body := q.uploadOf()
	ctx, end := h.untilStopped(ctx)
	defer end()
	defer context.AfterFunc(ctx, body.stop)()
	return read(ctx, id, body, body.stop)
}
