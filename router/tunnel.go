package router

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/router/h1"
)

// tunnel passes bytes both ways after a 101, until both sides have ended. rest came along with the 101.
func (x *exchange) tunnel(rest []byte) ending {
	c, s := x.c, &x.res
	r := c.r
	x.Status, x.Upgraded, x.answered = s.Status, true, true
	x.First = time.Duration(r.now() - x.begun)
	x.waited()
	b := x.appendFields(x.appendStatus(x.buf[:0]))
	b = append(b, "Connection: Upgrade\r\n"...)
	b = appendField(b, []byte("Upgrade"), s.Get(h1.Upgrade))
	b = append(b, "\r\n"...)
	b = append(b, rest...)
	x.buf = b
	if err := x.write(b); err != nil {
		return x.lost(err)
	}
	x.Out = int64(len(rest))
	// What the client sent before it knew.
	if early := c.unread(); len(early) > 0 {
		if _, err := x.up.send(early, x.limits.idle); err != nil {
			x.abandon()
			return closing
		}
		x.In += int64(len(early))
	}
	c.drop()

	c.w.waiting.Store(0)
	p := &pipes{r: r, limits: x.limits, client: c.w, up: x.up}
	p.seen.Store(r.now())
	up := make(chan int64, 1)
	go func() { up <- p.copy(p.up, p.client) }()
	x.Out += p.copy(p.client, p.up)
	x.In += <-up
	if p.half != nil {
		p.half.Stop()
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
}

// copy passes on what src sends. Its end is passed on too, and the other direction goes on; an error
// ends both.
func (p *pipes) copy(dst, src *wire) (n int64) {
	limit := int64(p.limits.tunnel)
	for {
		if !src.read.renew(p.seen.Load() + limit) {
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
			// The other direction may have been busy meanwhile.
			if src.read.timedOut() && p.seen.Load()+limit > p.r.now() {
				continue
			}
			break
		}
		p.seen.Store(p.r.now())
		_, err = dst.send(b.b[:k], p.limits.idle)
		p.r.bufs.put(b)
		if err != nil {
			break
		}
		n += int64(k)
	}
	p.cancel()
	return n
}

// cancel ends both directions.
func (p *pipes) cancel() {
	p.client.cancelRead()
	p.up.cancelRead()
}
