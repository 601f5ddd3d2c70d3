package h2

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// Config says how a client's connection is served.
type Config struct {
	// Open opens a connection to the core, which answers requests on it. leave tells the core that nobody waits for an
	// answer on it any more.
	Open func() (core net.Conn, leave func())
	// Now is the time on the router's own clock.
	Now func() int64
	// Idle is how long the connection may have no stream.
	Idle time.Duration
	// ServerName is the name that the client asked for by TLS, "" for none.
	ServerName string
	MaxHead    int // bytes of a request's head
}

const (
	// maxStreams is how many streams a client may have open at a time on a connection.
	maxStreams = 100
	// maxFrame is the largest frame that a client may send: the least that the protocol allows to ask for.
	maxFrame = 16 << 10
	// Buffers for what clients send before the core takes it; the connection's bounds all of its streams'.
	connBuffer   = 1 << 20
	streamBuffer = 256 << 10
	// A client that says nothing for pingAfter is asked whether it is there, and has pingLimit to answer.
	pingAfter = 60 * time.Second
	pingLimit = 15 * time.Second
	// stall is how long a client may take nothing of what is written to it.
	stall = 75 * time.Second
)

// Conn is a client's connection.
type Conn struct {
	Config
	nc     net.Conn
	server *http.Server
	h2     *http2.Server

	streams atomic.Int64
	idle    atomic.Int64 // since when there is no stream, on the router's clock; 0 while there is one

	mu     sync.Mutex
	free   []*link // connections to the core without a request; the one that was used last stands last
	closed bool
	ending bool // a graceful end has begun
}

// maxFree is how many connections to the core a Conn keeps for its next streams.
const maxFree = 16

// NewConn returns a Conn, which Serve serves.
func NewConn(nc net.Conn, cfg Config) *Conn {
	c := &Conn{Config: cfg, nc: nc}
	c.server = &http.Server{MaxHeaderBytes: cfg.MaxHead, Handler: c, ErrorLog: log.New(io.Discard, "", 0)}
	c.h2 = &http2.Server{
		MaxConcurrentStreams: maxStreams, IdleTimeout: cfg.Idle, ReadIdleTimeout: pingAfter, PingTimeout: pingLimit,
		MaxReadFrameSize: maxFrame, WriteByteTimeout: stall, MaxUploadBufferPerConnection: connBuffer, MaxUploadBufferPerStream: streamBuffer,
	}
	c.idle.Store(cfg.Now())
	return c
}

// Serve answers streams until the connection has ended.
func (c *Conn) Serve() {
	// It joins the two, so that the end of the one is that of the other's connection.
	if err := http2.ConfigureServer(c.server, c.h2); err == nil {
		c.h2.ServeConn(c.nc, &http2.ServeConnOpts{BaseConfig: c.server, Handler: c})
	}
	_ = c.nc.Close()
	c.mu.Lock()
	c.closed = true
	free := c.free
	c.free = nil
	c.mu.Unlock()
	for _, l := range free {
		l.close()
	}
}

// IdleSince returns since when there is no stream, on the router's clock; 0 while there is one.
func (c *Conn) IdleSince() int64 { return c.idle.Load() }

// End ends the connection gracefully: no new streams (GOAWAY), and those under way are finished.
func (c *Conn) End() {
	c.mu.Lock()
	begun := c.ending
	c.ending = true
	c.mu.Unlock()
	if !begun {
		// It tells the connection, and has no other one to wait for.
		go func() { _ = c.server.Shutdown(context.Background()) }()
	}
}

// Kill ends the connection with all of its streams.
func (c *Conn) Kill() { _ = c.nc.Close() }

// link is a connection to the core.
type link struct {
	net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	leave func()
}

func (l *link) close() {
	l.leave()
	_ = l.Conn.Close()
}

// take returns a connection to the core, nil where the client's has ended. The core ends none that waits.
func (c *Conn) take() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	if n := len(c.free); n > 0 {
		l := c.free[n-1]
		c.free[n-1] = nil
		c.free = c.free[:n-1]
		return l
	}
	nc, leave := c.Open()
	return &link{nc, bufio.NewReader(nc), bufio.NewWriter(nc), leave}
}

// give keeps a connection to the core for the next stream.
func (c *Conn) give(l *link) {
	c.mu.Lock()
	keep := !c.closed && len(c.free) < maxFree
	if keep {
		c.free = append(c.free, l)
	}
	c.mu.Unlock()
	if !keep {
		l.close()
	}
}
