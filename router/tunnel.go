package router

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/router/h1"
)

const (
	// farewell is how long a WebSocket has from its close frame until it is cut.
	farewell = 10 * time.Second
	// farewellSpread is over how long the close frames of an instance's WebSockets are spread: their clients come
	// back at once, and should not all do so in the same moment.
	farewellSpread = 3 * time.Second
)

// tunnel forwards bytes in both directions after a 101, until both sides have ended. rest arrived with the 101.
func (x *exchange) tunnel(rest []byte) ending {
	c, s := x.c, &x.res
	r := c.r
	x.Status, x.Upgraded, x.answered = s.Status, true, true
	x.First = time.Duration(r.now() - x.begun)
	x.waited()
	x.countStream()
	b := x.appendFields(x.appendStatus(x.buf[:0]))
	b = append(b, "Connection: Upgrade\r\n"...)
	b = appendField(b, []byte("Upgrade"), s.Get(h1.Upgrade))
	b = x.appendOurs(b)
	b = append(b, "\r\n"...)
	b = append(b, rest...)
	x.buf = b
	if err := x.write(b); err != nil {
		return x.endWithoutClient(err)
	}
	x.Out = int64(len(rest))
	p := &pipes{r: r, limits: x.limits, client: c.w, up: x.up, webSocket: h1.HasToken(s.Get(h1.Upgrade), "websocket")}
	p.down.pass(rest, false)
	// What the client sent before it knew.
	if early := c.unread(); len(early) > 0 {
		if _, err := x.up.send(early, x.limits.idle); err != nil {
			x.abandon()
			return closing
		}
		p.upward.pass(early, false)
		x.In += int64(len(early))
	}
	c.drop()

	c.w.waiting.Store(0)
	p.seen.Store(r.now())
	if p.webSocket {
		x.endpoint.tunnels.add(p)
		defer x.endpoint.tunnels.remove(p)
	}
	up := make(chan int64, 1)
	go func() { up <- p.copy(p.up, p.client, &p.upward) }()
	x.Out += p.copy(p.client, p.up, &p.down)
	x.In += <-up
	if p.half != nil {
		p.half.Stop()
	}
	if !p.ended.Load() {
		c.w.closeWrite() // a stream of HTTP/2 has no other sign of a whole end
	}
	x.abandon()
	return closing
}

// pipes are the two directions of an upgraded connection.
type pipes struct {
	r          *Router
	limits     *limits
	client, up *wire
	seen       atomic.Int64 // when something last came, either way
	half       *time.Timer  // ends the tunnel of a client that has ended its sending side

	webSocket    bool
	down, upward frames       // towards the client, and towards the app
	leaving      atomic.Int64 // when it is cut, after a close frame has been due; 0 before
	ended        atomic.Bool
}

// copy forwards the bytes of src. The end of src is forwarded, too, and the other direction continues; an error ends both.
func (p *pipes) copy(dst, src *wire, f *frames) (n int64) {
	limit := int64(p.limits.tunnel)
	said := false // our close frame has been sent to dst
	for {
		until := p.seen.Load() + limit
		if cut := p.leaving.Load(); cut > 0 {
			if !said && f.between() {
				if said = true; !f.closed && !p.sayClose(dst) {
					break
				}
			}
			if said && f.closed {
				return n // both have said goodbye
			}
			until = cut
		}
		if !src.read.renew(until) && !p.resume(src, until) {
			break
		}
		b, k, err := src.first(largeBlock, 0, largeBlock)
		if err != nil {
			if errors.Is(err, io.EOF) {
				dst.closeWrite()
				if half := p.limits.halfClosed; half > 0 && src == p.client {
					p.half = time.AfterFunc(half, p.cancel)
				}
				return n
			}
			// The other direction may have been busy meanwhile, or it is time to say goodbye.
			now := p.r.now()
			if src.read.timedOut() && p.leaving.Load() == 0 && p.seen.Load()+limit > now {
				continue
			}
			if src.read.cancelled() && p.leaving.Load() > now && !p.ended.Load() {
				continue
			}
			break
		}
		p.seen.Store(p.r.now())
		pass := k
		if p.webSocket {
			switch leaving := p.leaving.Load() > 0; {
			case said:
				f.pass(b.b[:k], false)
				pass = 0 // nothing follows a close frame
			case leaving:
				pass = f.pass(b.b[:k], true)
				if pass < k && f.between() {
					// The rest comes after our close frame.
					_, err = dst.send(b.b[:pass], p.limits.idle)
					n += int64(pass)
					if said = true; err == nil && !f.closed && !p.sayClose(dst) {
						err = errWrite
					}
					f.pass(b.b[pass:k], false)
					pass = 0
				}
			default:
				f.pass(b.b[:k], false)
			}
		}
		if err == nil && pass > 0 {
			_, err = dst.send(b.b[:pass], p.limits.idle)
		}
		p.r.bufs.put(b)
		if err != nil {
			break
		}
		n += int64(pass)
	}
	p.cancel()
	return n
}

// sayClose sends a close frame, and tells whether it could.
func (p *pipes) sayClose(dst *wire) bool {
	b := appendClose(nil, dst == p.up, uint32(p.r.random()))
	_, err := dst.send(b, p.limits.idle)
	return err == nil
}

// resume goes on waiting after goAway has ended a wait; false where the tunnel has ended.
func (p *pipes) resume(src *wire, until int64) bool {
	if p.leaving.Load() == 0 || p.ended.Load() {
		return false
	}
	src.read.set(until)
	_ = src.SetReadDeadline(time.Time{})
	// Whoever ended the tunnel meanwhile did so before or after the limit was set: then it is seen here, or ends the
	// wait.
	return !p.ended.Load()
}

// goAway has both directions say goodbye at the end of the frame under way.
func (p *pipes) goAway() {
	if p.leaving.CompareAndSwap(0, p.r.now()+int64(farewell)) {
		p.client.cancelRead()
		p.up.cancelRead()
	}
}

// cancel ends both directions.
func (p *pipes) cancel() {
	p.ended.Store(true)
	p.client.cancelRead()
	p.up.cancelRead()
}
