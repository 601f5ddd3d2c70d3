package h3

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/protoduction/micro/router/h1"
)

// Config says how a client's connection is served.
type Config struct {
	// Open returns a core that answers the request of a stream.
	Open func(*Stream) Core
	// Now is the time on the router's own clock, in nanoseconds.
	Now func() int64
	// Idle is how long the connection may have no request, and Begin how long a request may take to show whether it has a
	// body.
	Idle, Begin time.Duration
	MaxHead     int // bytes of a request's head
}

// Core answers the request of one stream. It reads the body from the stream and writes the answer to it, all in
// HTTP/1.1.
type Core interface {
	// Answer answers a request whose head is given, or says what is bad about it.
	Answer(head []byte, bad *h1.Error) bool
	// Leave tells a running Answer that nobody waits for the answer any more. It does not wait.
	Leave()
	// Close ends the core.
	Close()
}

const (
	// maxRunning bounds the requests under way of a connection, with those that the client has given up.
	maxRunning = 2 * maxStreams
	// maxBudget is how many requests a client may give up in advance; each that is answered pays for answerPays.
	maxBudget  = 2000
	answerPays = 20
	// farewell is how long a client has to take what was sent last, before its connection is closed.
	farewell = time.Second
)

// Conn is a client's connection.
type Conn struct {
	Config
	qc     *quic.Conn
	server *http3.Server

	mu      sync.Mutex
	running int   // requests under way
	idle    int64 // since when there is none, on the router's clock; 0 while there is one
	budget  int
	leaving bool // a graceful end has begun
	ended   bool
	timer   *time.Timer
}

// Context returns the connection's, from what the listener's Begin returned.
func (c *Conn) Context() context.Context { return c.qc.Context() }

// LocalAddr returns the address that the client has connected to.
func (c *Conn) LocalAddr() net.Addr { return c.qc.LocalAddr() }

// RemoteAddr returns the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.qc.RemoteAddr() }

// serverName is the name that the client asked for.
func (c *Conn) serverName() string { return c.qc.ConnectionState().TLS.ServerName }

// Serve answers requests until the connection has ended.
func (c *Conn) Serve(cfg Config) {
	c.mu.Lock()
	c.Config = cfg
	c.budget = maxBudget
	c.idle = cfg.Now()
	c.server = &http3.Server{Handler: http.HandlerFunc(c.answer), MaxHeaderBytes: 2 * cfg.MaxHead}
	c.timer = time.AfterFunc(cfg.Idle, c.look)
	if c.ended {
		c.timer.Stop()
	}
	leaving := c.leaving
	c.mu.Unlock()
	if leaving {
		c.End()
	}
	_ = c.server.ServeQUICConn(c.qc) // how a connection ends is the client's business
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close(http3.ErrCodeNoError)
	c.timer.Stop()
}

// begin counts a request in, and tells whether it may be answered.
func (c *Conn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running >= maxRunning {
		return false
	}
	c.running++
	c.idle = 0
	return true
}

// finish counts a request out. A client that gives up too many requests loses its connection.
func (c *Conn) finish(awaited bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if awaited {
		c.budget = min(c.budget+answerPays, maxBudget)
	} else if c.budget--; c.budget < 0 {
		c.close(http3.ErrCodeExcessiveLoad)
	}
	if c.running--; c.running > 0 || c.ended {
		return
	}
	c.idle = c.Now()
	wait := c.Idle
	if c.leaving {
		wait = farewell
	}
	c.timer.Reset(wait)
}

// look ends a connection that has had no request for long, or whose last one after the graceful end is answered.
func (c *Conn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == 0 {
		c.close(http3.ErrCodeNoError)
	}
}

// close ends the connection. mu is held.
func (c *Conn) close(code http3.ErrCode) {
	if c.ended {
		return
	}
	c.ended = true
	_ = c.qc.CloseWithError(quic.ApplicationErrorCode(code), "")
}

// IdleSince returns since when there is no request, on the router's clock; 0 while there is one.
func (c *Conn) IdleSince() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.idle
}

// EndIdle ends the connection and returns true, unless there is a request.
func (c *Conn) EndIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		return false
	}
	c.close(http3.ErrCodeNoError)
	return true
}

// End ends the connection gracefully: the client hears of it (GOAWAY), and the requests under way are answered.
func (c *Conn) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if c.server == nil || c.ended {
		return // Serve has not begun
	}
	server := c.server
	go func() { _ = server.Shutdown(c.qc.Context()) }() // it waits for the requests under way, and ends with the connection
	if c.running == 0 {
		c.timer.Reset(farewell)
	}
}

// Kill ends the connection at once.
func (c *Conn) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.close(http3.ErrCodeNoError)
}
