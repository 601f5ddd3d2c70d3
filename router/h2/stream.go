package h2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers a stream.
func (c *Conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.streams.Add(1)
	c.idle.Store(0)
	defer func() {
		if c.streams.Add(-1) == 0 {
			c.idle.Store(c.Now())
		}
	}()
	if why := unspeakable(r); why != "" {
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	l := c.take()
	if l == nil {
		panic(http.ErrAbortHandler) // the connection has ended
	}
	// A stream that is reset, or whose connection ends, leaves the core at once.
	stop := context.AfterFunc(r.Context(), l.close)
	sent := make(chan error, 1)
	go func() { sent <- l.send(r) }()
	whole, err := c.answer(w, r, l)
	if err != nil || !whole {
		l.close()
	}
	sendErr, ended := awaitSent(r, sent, whole && err == nil)
	if !ended {
		_ = r.Body.Close()
		l.close()
		<-sent
	}
	whole = whole && ended && sendErr == nil
	if stop() && whole && err == nil {
		c.give(l)
	} else {
		l.close()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client can tell the answer from a whole one
	}
}

// sendEnds is how long the goroutine that sends a body may take to notice that the core has read the last of it.
const sendEnds = 5 * time.Millisecond

// awaitSent waits for the end of sending the request, and returns false where the core does not read the rest. After a
// whole answer the goroutine that sends may need a moment to run again. Of a body the core may have read a part alone,
// so that the wait has an end; a head it has read.
func awaitSent(r *http.Request, sent <-chan error, answered bool) (sendErr error, ended bool) {
	select {
	case sendErr = <-sent:
		return sendErr, true
	default:
	}
	if !answered {
		return nil, false
	}
	if r.ContentLength == 0 {
		return <-sent, true
	}
	limit := time.NewTimer(sendEnds)
	defer limit.Stop()
	select {
	case sendErr = <-sent:
		return sendErr, true
	case <-limit.C:
		return nil, false
	}
}

// unspeakable says what of a request can't be written in HTTP/1.1; "" for nothing. The core looks at all else.
func unspeakable(r *http.Request) string {
	switch {
	case r.Method == http.MethodConnect:
		return "CONNECT is not supported."
	case strings.ContainsAny(r.RequestURI, " \r\n") || r.RequestURI == "":
		return "The path of the request is not valid."
	case strings.ContainsAny(r.Host, " \r\n\t"):
		return "The authority of the request is not valid."
	}
	return ""
}

// send writes a request to the core, its body as it comes.
func (l *link) send(r *http.Request) error {
	w := l.w
	fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
	for name, values := range r.Header {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Host", "Connection", "Trailer", "Expect":
			continue
		}
		for _, v := range values {
			w.WriteString(name)
			w.WriteString(": ")
			w.WriteString(v)
			w.WriteString("\r\n")
		}
	}
	length := r.ContentLength
	if len(r.Trailer) > 0 && length != 0 {
		// HTTP/1.1 has trailers behind chunks alone. An app reads those that are announced.
		length = -1
		fmt.Fprintf(w, "Trailer: %s\r\n", strings.Join(slices.Sorted(maps.Keys(r.Trailer)), ", "))
	}
	switch {
	case length > 0:
		fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", r.ContentLength)
	case length < 0:
		w.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	default:
		if _, given := r.Header["Content-Length"]; given || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH" {
			w.WriteString("Content-Length: 0\r\n")
		}
		w.WriteString("\r\n")
	}
	if err := w.Flush(); err != nil || length == 0 {
		return err
	}
	if length > 0 {
		n, err := io.Copy(l.Conn, r.Body)
		if err == nil && n < r.ContentLength {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := writeChunks(w, r.Body); err != nil {
		return err
	}
	writeTrailer(w, r.Trailer)
	return w.Flush()
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

// answer passes the core's answer on. whole tells that the connection may carry another request.
func (c *Conn) answer(w http.ResponseWriter, r *http.Request, l *link) (whole bool, err error) {
	h := w.Header()
	var res *http.Response
	for {
		if res, err = http.ReadResponse(l.r, r); err != nil {
			return false, err
		}
		if res.StatusCode >= 200 {
			break
		}
		if res.StatusCode != http.StatusContinue { // the library's to say
			copyFields(h, res.Header)
			w.WriteHeader(res.StatusCode)
			clear(h)
		}
	}
	defer res.Body.Close()
	copyFields(h, res.Header)
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // it is not for the library to guess
	}
	status := res.StatusCode
	if status == http.StatusNotFound && c.ServerName != "" && h.Get("X-Micro-Error") == "unknown_route" && !sameHost(r.Host, c.ServerName) {
		// The client took this connection for another host that its certificate covers. A connection of that host's
		// own may lead to other routes (RFC 9110, section 15.5.20).
		status = http.StatusMisdirectedRequest
	}
	w.WriteHeader(status)
	flush := w.(http.Flusher)
	if res.ContentLength != 0 && l.r.Buffered() == 0 {
		flush.Flush() // the body may take its time
	}
	b := make([]byte, 32<<10)
	for {
		n, err := res.Body.Read(b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return false, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
		if l.r.Buffered() == 0 {
			flush.Flush()
		}
	}
	for name, values := range res.Trailer {
		h[http.TrailerPrefix+name] = values
	}
	return !res.Close, nil
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

// sameHost tells that an authority is of a host.
func sameHost(authority, host string) bool {
	name := authority
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	return strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(host, "."))
}
