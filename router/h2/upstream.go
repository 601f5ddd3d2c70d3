package h2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Upstream is an instance that speaks HTTP/2 in cleartext.
type Upstream struct {
	dial      func(context.Context) (net.Conn, error)
	transport *http2.Transport

	mu     sync.Mutex
	users  int // requests that have a connection or look for one
	closed bool
	conns  []*http2.ClientConn
}

// maxAnswerHead bounds the head of an answer, in bytes.
const maxAnswerHead = 64 << 10

// NewUpstream returns an Upstream to which dial connects.
func NewUpstream(dial func(context.Context) (net.Conn, error)) *Upstream {
	return &Upstream{dial: dial, transport: &http2.Transport{
		AllowHTTP: true, DisableCompression: true, MaxHeaderListSize: maxAnswerHead,
		ReadIdleTimeout: 30 * time.Second, PingTimeout: pingLimit, IdleConnTimeout: 60 * time.Second,
	}}
}

// Close ends the connections to the instance once nobody uses them. Who has claimed the instance before may still Dial.
func (u *Upstream) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	u.closeUnused()
}

// closeUnused closes all connections of a closed Upstream that nobody uses. mu is held.
func (u *Upstream) closeUnused() {
	if !u.closed || u.users > 0 {
		return
	}
	for _, cc := range u.conns {
		_ = cc.Close()
	}
	u.conns = nil
}

// use counts a user in or out.
func (u *Upstream) use(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users += n
	u.closeUnused()
}

// conn returns a connection to the instance that takes one more stream.
func (u *Upstream) conn(ctx context.Context) (*http2.ClientConn, error) {
	if cc := u.free(); cc != nil {
		return cc, nil
	}
	nc, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	cc, err := u.transport.NewClientConn(nc)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	cc.ReserveNewRequest()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns = append(u.conns, cc)
	return cc, nil
}

// free returns a connection that is there and takes one more stream, and forgets those that have ended.
func (u *Upstream) free() (free *http2.ClientConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns = slices.DeleteFunc(u.conns, func(cc *http2.ClientConn) bool { return cc.State().Closed })
	for _, cc := range u.conns {
		if cc.ReserveNewRequest() {
			return cc
		}
	}
	return nil
}

// Dial returns a connection within this process that takes one request of HTTP/1.1, and answers it with what the
// instance answers.
func (u *Upstream) Dial(ctx context.Context) (net.Conn, error) {
	u.use(1)
	cc, err := u.conn(ctx)
	if err != nil {
		u.use(-1)
		return nil, err
	}
	core, ours := net.Pipe()
	go func() {
		defer u.use(-1)
		defer ours.Close()
		serve(ours, cc)
	}()
	return core, nil
}

// serve answers the one request of a connection of the core's.
func serve(nc net.Conn, cc *http2.ClientConn) {
	in := bufio.NewReader(nc)
	r, err := http.ReadRequest(in)
	if err != nil {
		cc.SetDoNotReuse() // a stream was reserved on it that is not to come
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r = r.WithContext(ctx)
	r.URL = &url.URL{Scheme: "http", Host: "instance", Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	r.RequestURI = ""
	r.Close = false // that is about the connection to the core
	r.Header.Del("Connection")
	if r.ContentLength == 0 {
		r.Body = http.NoBody
	}
	// After the body's end the core says nothing more but that it has gone.
	watch := &watched{ReadCloser: r.Body, in: in, cancel: cancel}
	if r.Body == http.NoBody {
		watch.ended()
	} else {
		r.Body = watch
	}
	res, err := cc.RoundTrip(r)
	if err != nil {
		writeReset(nc, r, err)
		return
	}
	defer res.Body.Close()
	_ = writeAnswer(nc, r, res)
}

// watched is a request's body, after whose end the connection is watched for the core's leaving.
type watched struct {
	io.ReadCloser
	in     *bufio.Reader
	cancel func()
	once   sync.Once
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	switch {
	case errors.Is(err, io.EOF):
		w.ended()
	case err != nil:
		w.cancel()
	}
	return n, err
}

func (w *watched) ended() {
	w.once.Do(func() {
		go func() {
			_, _ = w.in.ReadByte() // it ends with the connection at the latest
			w.cancel()
		}()
	})
}

// writeAnswer writes an answer, its body as it comes, and with it the end of the connection.
func writeAnswer(nc net.Conn, r *http.Request, res *http.Response) error {
	w := bufio.NewWriter(nc)
	fmt.Fprintf(w, "HTTP/1.1 %03d %s\r\n", res.StatusCode, http.StatusText(res.StatusCode))
	fields := http.Header{}
	copyFields(fields, res.Header)
	bodyless := r.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	chunked := !bodyless && res.ContentLength < 0
	if chunked {
		fields.Del("Content-Length")
	} else if !bodyless {
		fields.Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	for name, values := range fields {
		for _, v := range values {
			fmt.Fprintf(w, "%s: %s\r\n", name, v)
		}
	}
	if chunked {
		w.WriteString("Transfer-Encoding: chunked\r\n")
	}
	w.WriteString("Connection: close\r\n\r\n")
	if err := w.Flush(); err != nil || bodyless {
		return err
	}
	if !chunked {
		_, err := io.Copy(nc, res.Body)
		return err
	}
	if err := writeChunks(w, res.Body); err != nil {
		return err
	}
	writeTrailer(w, res.Trailer)
	return w.Flush()
}

// writeReset answers a gRPC call whose stream the instance has reset before its answer, by the status that the reset
// stands for (the protocol's table of HTTP/2 errors). For all else the connection ends without an answer.
func writeReset(nc net.Conn, r *http.Request, err error) {
	reset, ok := errors.AsType[http2.StreamError](err)
	if !ok || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		return
	}
	status := 13 // internal
	switch reset.Code {
	case http2.ErrCodeCancel:
		status = 1
		if r.Header.Get("Grpc-Timeout") != "" {
			status = 4 // servers reset a call whose deadline has passed
		}
	case http2.ErrCodeRefusedStream:
		status = 14
	case http2.ErrCodeEnhanceYourCalm:
		status = 8
	case http2.ErrCodeInadequateSecurity:
		status = 7
	}
	// The core may have gone.
	_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: %d\r\nGrpc-Message: the app reset the stream\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
}

// writeChunks writes a body in chunks, each piece at once, and the last chunk without the end of the message.
func writeChunks(w *bufio.Writer, body io.Reader) error {
	b := make([]byte, 32<<10)
	for {
		n, err := body.Read(b)
		if n > 0 {
			w.WriteString(strconv.FormatInt(int64(n), 16))
			w.WriteString("\r\n")
			w.Write(b[:n])
			w.WriteString("\r\n")
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			w.WriteString("0\r\n")
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeTrailer writes trailers and the end of the message.
func writeTrailer(w *bufio.Writer, trailer http.Header) {
	for name, values := range trailer {
		for _, v := range values {
			w.WriteString(name)
			w.WriteString(": ")
			w.WriteString(v)
			w.WriteString("\r\n")
		}
	}
	w.WriteString("\r\n")
}

// copyFields copies what is not of the connection to the core.
func copyFields(to, from http.Header) {
	for name, values := range from {
		switch name {
		case "Connection", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "Upgrade", "Trailer":
		default:
			to[name] = values
		}
	}
}
