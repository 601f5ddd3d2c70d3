package brokertest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
)

// Transport brings requests to a broker without a network, so that tests can have a clock of their own.
type Transport struct {
	Broker *Broker
	// Down reports whether the broker cannot be reached.
	Down func() bool
	// Before and After are called before the broker gets a request, and after it has answered, if they are set.
	Before, After func()
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.Down != nil && t.Down() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if t.Before != nil {
		t.Before()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := &recorder{ResponseRecorder: httptest.NewRecorder()}
	t.Broker.ServeHTTP(rec, r)
	if t.After != nil {
		t.After()
	}
	switch err := r.Context().Err(); {
	case err != nil:
		return nil, err
	case rec.hungUp:
		return nil, io.ErrUnexpectedEOF
	}
	return rec.Result(), nil
}

// recorder is an answer whose connection may end.
type recorder struct {
	*httptest.ResponseRecorder
	hungUp bool
}

// Hijack implements http.Hijacker.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.hungUp = true
	near, far := net.Pipe()
	far.Close()
	return near, nil, nil
}
