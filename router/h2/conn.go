package h2

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/protoduction/micro/router/h1"
)

// Config says how a client's connection is served.
type Config struct {
	// Open returns a core that answers the requests of a stream.
	Open func(*Stream) Core
	// Send sends all of b to the client. It fails where the client takes nothing for too long.
	Send func(b []byte) error
	// Cut ends the connection at once. It waits for nothing.
	Cut func()
	// Now is the time on the router's own clock, in nanoseconds.
	Now func() int64
	// Idle is how long the connection may have no stream, and Begin how long it may take to say what it speaks.
	Idle, Begin time.Duration
	// ServerName is the name that the client asked for by TLS, "" for none.
	ServerName string
	MaxHead    int // bytes of a request's head
	// GivenBack is called with memory that is to be used again; nil for nothing. Tests overwrite that memory.
	GivenBack func([]byte)
}

// Core answers the requests of one stream after the other. It reads their bodies from the stream, and writes the answers
// to it, all in HTTP/1.1.
type Core interface {
	// Answer answers a request whose head is given, or says what is bad about it. It returns false if the core can't
	// answer another one.
	Answer(head []byte, bad *h1.Error) bool
	// Leave tells a running Answer that nobody waits for the answer any more. It does not wait.
	Leave()
	// Close ends the core. It is called after the last Answer.
	Close()
}

const (
	// maxStreams is how many streams a client may have open at a time on a connection.
	maxStreams = 100
	// maxRunning bounds the requests under way of a connection, with those whose streams the client has reset.
	maxRunning = 2 * maxStreams
	// maxFree is how many streams without a request a Conn keeps for its next requests.
	maxFree = 16
	// maxFrame is the largest frame that either side sends: the least that the protocol allows to ask for.
	maxFrame = 16 << 10
	// Windows for what clients send before the core takes it; the connection's bounds all of its streams'.
	connWindow   = 1 << 20
	streamWindow = 256 << 10
	// firstWindow is every window's size before anything is said about it.
	firstWindow = 64<<10 - 1
	maxWindow   = 1<<31 - 1
	// A client that says nothing for pingAfter is asked whether it is there, and has pingLimit to answer.
	pingAfter = 60 * time.Second
	pingLimit = 15 * time.Second
	// farewell is how long a client has to hear that its connection ends, before new streams are ignored.
	farewell = time.Second
)

// Conn is a client's connection.
type Conn struct {
	Config
	nc      net.Conn
	idle    atomic.Int64 // since when there is no request, on the router's clock; 0 while there is one
	heard   atomic.Int64 // when something last came
	workers sync.WaitGroup

	// What follows is the reading goroutine's.
	buffered *bufio.Reader
	frames   *http2.Framer
	decoder  *hpack.Decoder
	head     head
	trailer  trailer

	mu         sync.Mutex
	began      bool // the client has said that it speaks HTTP/2
	streams    map[uint32]*Stream
	free       []*Stream // without a request; the one that was used last stands last
	running    int       // requests under way
	last       uint32    // the newest stream of the client's
	ended      bool      // nothing is sent any more
	leaving    bool      // a graceful end has begun
	left       bool      // new streams are ignored
	evicted    bool      // it is to end at once
	pinged     int64     // when the client was asked whether it is there; 0 if it has answered
	finished   finished
	budget     budget
	timer      *time.Timer
	send       int64 // window for what is sent
	firstSend  int64 // the same of a new stream
	receive    int64 // window for what the client sends
	receiveDue int64 // by how much it can be opened again
	output
}

// NewConn returns a Conn, which Serve serves.
func NewConn(nc net.Conn, cfg Config) *Conn {
	c := &Conn{
		Config: cfg, nc: nc, streams: map[uint32]*Stream{},
		send: firstWindow, firstSend: firstWindow, receive: connWindow,
	}
	c.buffered = bufio.NewReader(nc)
	c.frames = http2.NewFramer(nil, c.buffered)
	c.frames.SetReuseFrames()
	c.frames.SetMaxReadFrameSize(maxFrame)
	c.decoder = hpack.NewDecoder(4<<10, nil)
	c.decoder.SetMaxStringLength(cfg.MaxHead)
	c.output.init(c)
	now := cfg.Now()
	c.idle.Store(now)
	c.heard.Store(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(cfg.Begin, c.look)
	return c
}

// Serve answers streams until the connection has ended, and says whether the client is still to read why. The caller
// closes the connection.
func (c *Conn) Serve() (linger bool) {
	code, said := c.read()
	c.mu.Lock()
	if said {
		c.appendGoAway(c.last, code)
	}
	if said || c.left {
		c.flush()
		for c.flushing && !c.ended {
			c.room.Wait()
		}
		linger = !c.ended && !c.evicted
	}
	c.end()
	c.mu.Unlock()
	c.workers.Wait()
	return linger
}

// end ends all streams. mu is held.
func (c *Conn) end() {
	c.ended = true
	c.timer.Stop()
	for _, s := range c.streams {
		s.leave()
	}
	clear(c.streams)
	c.dropFree()
	c.room.Broadcast()
}

func (c *Conn) giveBack(b []byte) {
	if c.GivenBack != nil {
		c.GivenBack(b[:cap(b)])
	}
}

// dropFree ends the streams without a request. mu is held.
func (c *Conn) dropFree() {
	for i, s := range c.free {
		close(s.start)
		c.free[i] = nil
	}
	c.free = c.free[:0]
}

// IdleSince returns since when there is no request, on the router's clock; 0 while there is one.
func (c *Conn) IdleSince() int64 { return c.idle.Load() }

// End ends the connection gracefully: the client hears of it, what it sends until then is answered, and so are the
// streams under way (RFC 9113, section 6.8).
func (c *Conn) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving || c.ended {
		return
	}
	c.leaving = true
	if !c.began {
		c.hangUp()
		return
	}
	c.appendGoAway(maxWindow, http2.ErrCodeNo)
	c.appendPing(false, farewellPing)
	c.timer.Reset(farewell)
	c.workers.Go(func() { // whoever ends connections waits for none
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flush()
	})
}

// farewellPing is what a client answers after it has heard that its connection ends.
var farewellPing = [8]byte{'g', 'o', 'o', 'd', 'b', 'y', 'e'}

// leave ignores new streams from now on, and ends the connection after the last one. The caller sends what it appends.
// mu is held.
func (c *Conn) leave() {
	if c.left || c.ended {
		return
	}
	c.left = true
	c.appendGoAway(c.last, http2.ErrCodeNo)
	if c.running == 0 {
		c.hangUp()
	}
}

// hangUp makes the reading goroutine end the connection. mu is held.
func (c *Conn) hangUp() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// EndIdle ends the connection at once and returns true, unless it has a request. It waits for nothing.
func (c *Conn) EndIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		return false
	}
	c.leaving, c.evicted = true, true
	c.leave()
	c.hangUp()
	return true
}

// look enforces the limits of time. The timer calls it now and then, so that a request needs no timer.
func (c *Conn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	now := c.Now()
	next := max(c.Idle/4, 10*time.Millisecond)
	switch silent := time.Duration(now - c.heard.Load()); {
	case !c.began, c.pinged > 0 && time.Duration(now-c.pinged) >= pingLimit:
		c.Cut()
		return
	case c.pinged == 0 && silent >= pingAfter:
		c.pinged = now
		c.appendPing(false, [8]byte{})
		c.flush()
		next = min(next, pingLimit)
	}
	if c.leaving {
		c.leave()
		c.flush()
	}
	if idle := c.idle.Load(); idle > 0 && c.running == 0 {
		if time.Duration(now-idle) >= c.Idle {
			c.leaving = true
			c.leave()
			return // the reading goroutine sends it
		}
		// What the next requests may not need for long.
		c.dropFree()
		c.output.shrink()
		next = min(next, c.Idle-time.Duration(now-idle))
	}
	c.timer.Reset(next)
}
