package router

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/protoduction/micro/cloud"
)

// inlineBody is the largest body in bytes that is read completely before anything is sent. Larger bodies, and those of unknown
// size, are forwarded while the router already waits for the answer.
const inlineBody = 32 << 10

// connectAll limits the total time for trying to connect to endpoints.
const connectAll = 10 * time.Second

// resends is how often a request is repeated that an endpoint took and did not answer.
const resends = 2

// run answers the request whose head is in x.head.
func (x *exchange) run() ending {
	if err := x.req.Parse(x.head); err != nil {
		return x.refuse(badRequest(err))
	}
	x.Method, x.Host, x.Target = x.req.Method, x.req.Host, x.req.Target
	if x.c.trusted {
		x.seeThrough()
	}
	if end, done := x.challenge(); done {
		return end
	}
	if end, done := x.openLink(); done {
		return end
	}
	if f := x.find(); f.status != 0 {
		return x.refuse(f)
	}
	if end, done := x.redirect(); done {
		return end
	}
	if end, done := x.authenticate(); done {
		return end
	}
	limit := x.limits.maxBody
	if limit > 0 && x.req.Length > limit {
		return x.refuse(faultTooLarge(limit))
	}
	stream := x.req.Chunked || x.req.Length > inlineBody || x.req.Continue && x.req.Length > 0
	x.watchPermit()
	x.reuse = x.reusable()
	x.writeRequest()
	if x.route.mirror != nil && !stream {
		x.copy()
	}
	if !stream && x.req.Length > 0 {
		if f := x.readBody(int(x.req.Length)); f.status != 0 {
			return x.refuse(f)
		}
	}
	return x.send(stream)
}

// readBody reads a small body into the buffer after the head. Its memory grows with the bytes that arrive, not with the
// announced length.
func (x *exchange) readBody(length int) fault {
	c := x.c
	n := min(length, len(c.unread()))
	x.buf = append(x.buf, c.unread()[:n]...)
	c.use(n)
	wait := x.limits.forBody(c.r.now(), nil)
	for x.In = int64(n); n < length; {
		if !c.w.read.renew(wait.until(c.r.now(), x.In)) {
			return faultClientGone // somebody ended the connection
		}
		b, k, err := c.w.first(length-n, 0, length-n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return wait.late(c.r.now(), x.In)
		}
		if err != nil {
			return faultClientGone
		}
		x.buf = append(x.buf, b.b[:k]...)
		c.r.bufs.put(b)
		n += k
		x.In += int64(k)
	}
	c.w.read.set(0)
	return fault{}
}

// send tries endpoints until one answers. It tries another endpoint only if that is safe: if nothing was sent, or if the
// request is idempotent, was sent completely, and no byte of an answer has arrived.
func (x *exchange) send(stream bool) ending {
	var last fault
	begun := x.c.r.now()
	fresh := false // an idle connection failed: no other idle one
	for sent := 0; ; {
		if f := x.claimOrHold(); f.status != 0 {
			if last.status != 0 && f == faultNoEndpoints {
				f = last
			}
			return x.refuse(f)
		}
		w, reused, err := x.connect(fresh)
		if cloud.Shortage(err) {
			x.unclaim()
			return x.refuse(faultOverloaded)
		}
		if err != nil {
			x.reject()
			if last = faultConnect; x.c.r.now()-begun > int64(connectAll) && x.limits.hold == 0 {
				return x.refuse(last)
			}
			continue
		}
		x.up = w
		var n int
		n, err = w.send(x.buf, x.limits.idle)
		x.sent = x.c.r.now()
		if err != nil && n == 0 {
			// The kernel took no byte, so the request has not been sent.
			if reused {
				x.endpoint.closed(w, x.c.r.now())
			}
			x.abandon()
			last, fresh = faultBroken, reused
			x.leave(reused)
			continue
		}
		switch {
		case stream && err == nil:
			x.startUpload() // until its end it is up to the client
		case err == nil && x.c.r.waits != nil:
			x.c.r.waits.Waits(&x.Exchange)
		}
		var b *block
		b, n, err = x.await()
		if err == nil {
			if x.upload != nil && x.upload.ended.Load() <= 0 {
				x.reuse = byNobody // it answers without having read the body
			}
			end := x.answer(b, n)
			x.stopUpload()
			if x.upload != nil && !x.upload.done && end == keepOpen {
				end = lingering
			}
			return end
		}
		f := x.awaitFault(err)
		if reused && f == faultBroken {
			x.endpoint.closed(w, x.c.r.now())
		}
		x.abandon()
		if f != faultBroken || stream || !x.req.Idempotent || sent == resends {
			x.stopUpload()
			if x.upload != nil && x.upload.fault.status != 0 {
				f = x.upload.fault
			}
			return x.refuse(f)
		}
		sent++
		last, fresh = f, reused
		x.leave(reused)
	}
}

// connect returns a connection to the claimed endpoint. An error of the endpoint excludes it for some time; a shortage of the
// router does not.
func (x *exchange) connect(fresh bool) (w *wire, reused bool, err error) {
	r := x.c.r
	x.Attempts++
	now := r.now()
	until := now + int64(x.limits.answer)
	if !fresh {
		var own *wire
		if x.reuse == byItsOwner {
			own = x.c.own.wireTo(x.endpoint)
		}
		if w := x.endpoint.take(now, until, own, !x.req.Idempotent || x.req.Length > 0); w != nil {
			return w, true, nil
		}
	}
	w, err = r.connect(x.endpoint, x.route.passes)
	if err != nil {
		if !cloud.Shortage(err) {
			x.endpoint.failed(r.now())
		}
		return nil, false, err
	}
	x.endpoint.connected()
	w.read.arm(until)
	return w, false, nil
}

// leave ends the attempt at an endpoint that did not answer. If an idle connection failed, the endpoint may be tried again.
func (x *exchange) leave(reused bool) {
	if reused {
		x.unclaim()
	} else {
		x.reject()
	}
}

// abandon closes the upstream connection.
func (x *exchange) abandon() {
	x.c.w.up.Store(nil)
	if x.up != nil {
		x.up.close()
		x.up = nil
	}
}

// await waits for the first bytes of the answer. They are in the block behind answerRoom.
func (x *exchange) await() (*block, int, error) {
	for {
		x.watchClient()
		b, n, err := x.up.first(largeBlock, answerRoom, largeBlock)
		if err == nil || !x.stillDue() {
			return b, n, err
		}
	}
}

// stillDue extends the limit for the answer after it has expired, if the answer is not due yet: the time counts from the end
// of the request's body, or from the last interim answer.
func (x *exchange) stillDue() bool {
	if !x.up.read.timedOut() {
		return false
	}
	now := x.c.r.now()
	from := x.sent
	if u := x.upload; u != nil {
		switch ended := u.ended.Load(); {
		case ended == 0:
			from = now // the request has not ended yet
		case ended < 0:
			return false
		default:
			from = max(from, ended)
		}
	}
	until := from + int64(x.limits.answer)
	return until > now && x.up.read.extend(until)
}

// watchClient makes the watch detect a client that leaves while the router waits for the upstream.
func (x *exchange) watchClient() {
	x.c.w.up.Store(x.up)
	x.c.w.halfLimit.Store(int64(x.limits.halfClosed))
	x.c.w.waiting.Store(x.c.r.now())
}

func (x *exchange) awaitFault(err error) fault {
	switch {
	case x.c.w.gone.Load():
		return faultClientGone
	case x.c.w.halfExpired.Load():
		return faultHalfClosed(x.limits.halfClosed)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return faultTimeout(x.limits.answer)
	case errors.Is(err, io.EOF):
		return faultBroken
	default:
		return faultBroken
	}
}
