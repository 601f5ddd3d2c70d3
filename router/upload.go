package router

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/router/h1"
)

// upload forwards a request's body while the exchange waits for the answer. So an answer may arrive before the end of the
// body, and a body may wait for a 100. It has its own goroutine, and shares only the two connections with the exchange, each
// in the opposite direction.
type upload struct {
	c        *conn
	up       *wire
	chunked  bool
	length   int64 // of a body that is not chunked
	limits   *limits
	chunks   h1.Chunks   // of the body
	answered atomic.Bool // the app has begun its answer
	wait     patience
	finished chan struct{}
	ended    atomic.Int64 // when, on the router's clock; -1 for a failure; 0 while it goes on
	// What follows may be read once finished is closed.
	in    int64 // bytes of the body that came
	done  bool  // all of the body was sent
	fault fault // what is the matter with the body, if anything
}

func (x *exchange) startUpload() {
	x.upload = &upload{c: x.c, up: x.up, chunked: x.req.Chunked, length: x.req.Length, limits: x.limits, finished: make(chan struct{})}
	x.upload.wait = x.limits.forBody(x.c.r.now(), &x.upload.answered)
	go x.upload.run()
}

func (u *upload) run() {
	var f fault
	var err error
	if u.chunked {
		f, err = u.sendChunks()
	} else {
		err = u.sendLength()
	}
	switch {
	case f.status == 0 && err == nil:
		u.done = true
		u.c.w.read.set(0)
		u.ended.Store(u.c.r.now())
	case errors.Is(err, errWrite):
		// The upstream may have answered before: whoever waits for the answer will see.
		if errors.Is(err, os.ErrDeadlineExceeded) {
			u.fault = faultUnread(u.limits.idle)
		}
		u.ended.Store(-1)
	case f.status == 0 && u.c.w.read.cancelled():
		u.ended.Store(-1) // nobody wants the rest
	default:
		if f.status == 0 {
			f = faultClientGone
			if errors.Is(err, os.ErrDeadlineExceeded) {
				f = u.wait.late(u.c.r.now(), u.in)
			}
		}
		u.fault = f
		u.ended.Store(-1)
		u.up.cancelRead()
	}
	close(u.finished)
}

// sendLength sends a body of known length.
func (u *upload) sendLength() error {
	c := u.c
	if n := min(u.length, int64(len(c.unread()))); n > 0 {
		if err := u.push(c.unread()[:n]); err != nil {
			return err
		}
		c.use(int(n))
		u.in = n
	}
	n, err := c.r.relay(u.up, c.w, u.length-u.in, true, &u.wait, u.limits.idle)
	u.in += n
	return err
}

// push writes to the upstream. Its errors have errWrite in them.
func (u *upload) push(b []byte) error {
	if _, err := u.up.send(b, u.limits.idle); err != nil {
		return errors.Join(errWrite, err)
	}
	return nil
}

// sendChunks sends a chunked body, chunked anew.
func (u *upload) sendChunks() (fault, error) {
	c := u.c
	b, at, n := c.in, c.at, c.n // what was read along with the head
	c.in, c.at, c.n = nil, 0, 0
	defer func() { c.r.bufs.put(b) }()
	for {
		if b != nil {
			used, f, err := u.sendPiece(b.b[at:n])
			at += used
			if err != nil {
				return f, err
			}
			if u.chunks.Done() {
				if at < n { // the next request
					c.in, c.at, c.n = b, at, n
					b = nil
				}
				return fault{}, nil
			}
			c.r.bufs.put(b)
			b = nil
		}
		if !c.w.read.renew(u.wait.until(c.r.now(), u.in)) {
			return fault{}, os.ErrDeadlineExceeded
		}
		// As much as fits decoded: data is never longer than its chunks.
		next, k, err := c.w.first(largeBlock, h1.ChunkRoom, largeBlock)
		if err != nil {
			return fault{}, err
		}
		b, at, n = next, h1.ChunkRoom, h1.ChunkRoom+k
	}
}

// sendPiece decodes what has come of a chunked body, and sends it as one chunk. It returns how many bytes of it
// belong to the body.
func (u *upload) sendPiece(src []byte) (used int, f fault, err error) {
	bufs := &u.c.r.bufs
	// Decoded into another block: what follows the body is the next request.
	out := bufs.get(len(src) + h1.ChunkRoom)
	defer bufs.put(out)
	n, used, err := u.chunks.Decode(out.b[h1.ChunkRoom:], src)
	u.in += int64(n)
	switch {
	case err != nil:
		return used, badRequest(err), err
	case u.limits.maxBody > 0 && u.in > u.limits.maxBody:
		return used, faultTooLarge(u.limits.maxBody), h1.ErrChunk
	}
	start, stop := h1.ChunkRoom, h1.ChunkRoom
	if n > 0 {
		start, stop = h1.EncodeChunk(out.b[:cap(out.b)], h1.ChunkRoom, h1.ChunkRoom+n)
	}
	piece := out.b[:cap(out.b)][start:stop]
	if u.chunks.Done() {
		piece = appendLastChunk(piece, u.chunks.Trailer())
	}
	if len(piece) == 0 {
		return used, fault{}, nil
	}
	return used, fault{}, u.push(piece)
}

func appendLastChunk(b, trailer []byte) []byte {
	b = append(b, "0\r\n"...)
	b = append(b, trailer...)
	return append(b, "\r\n"...)
}

// uploadGrace is how long after the answer's end the rest of a body may take. An upstream that answers
// at once is often faster than our own look at what was sent.
const uploadGrace = 100 * time.Millisecond

// stopUpload returns when nothing is sent any more; false where some of the body was not.
func (x *exchange) stopUpload() bool {
	u := x.upload
	if u == nil {
		return true
	}
	select {
	case <-u.finished:
	default:
		x.endUpload(u)
	}
	x.In = u.in
	return u.done
}

func (x *exchange) endUpload(u *upload) {
	if x.up != nil {
		t := time.NewTimer(uploadGrace)
		defer t.Stop()
		select {
		case <-u.finished:
			return
		case <-t.C:
		}
		x.abandon()
	}
	x.c.w.cancelRead()
	<-u.finished
}

// errWrite marks a failure to write, where the reader was fine.
var errWrite = errors.New("write")

const (
	// From spliceBytes on the kernel moves a body from socket to socket, a piece at a time, so that a
	// connection that stalls is noticed.
	spliceBytes = 256 << 10
	splicePiece = 1 << 20
)

// relay moves n bytes and returns how many it did. It fails where src takes longer than wait allows, or where dst
// takes nothing for as long as stall; an error of dst's has errWrite in it. With exact it takes no more than n bytes from src; without,
// more are an error, after n were moved.
func (r *Router) relay(dst, src *wire, n int64, exact bool, wait *patience, stall time.Duration) (int64, error) {
	var done int64
	for done < n {
		now := r.now()
		if !src.read.renew(wait.until(now, done)) {
			return done, os.ErrDeadlineExceeded
		}
		if rest := n - done; rest >= spliceBytes && dst.tcp != nil && src.tcp != nil && r.descriptors.take(pipeDescriptors) {
			dst.write.start(now, stall)
			k, err := dst.tcp.ReadFrom(&io.LimitedReader{R: src.tcp, N: min(rest, splicePiece)})
			taken := dst.write.end()
			r.descriptors.give(pipeDescriptors)
			done += k
			switch {
			case !taken:
				// What the kernel had in hand is lost, so that there is no going on.
				return done, errors.Join(errWrite, os.ErrDeadlineExceeded)
			case k == 0 && err == nil:
				return done, io.ErrUnexpectedEOF
			case errors.Is(err, os.ErrDeadlineExceeded) && (!src.read.over() || k > 0 && src.read.extend(wait.until(r.now(), done))):
				// Some of the piece came in time. Or the watch was late, for a limit that has been set anew since.
				_ = src.SetReadDeadline(time.Time{})
			case err != nil:
				// The kernel does not say on which side it failed; a reset peer shows.
				if gone, _ := dst.left(); gone {
					err = errors.Join(errWrite, err)
				}
				return done, err
			}
			continue
		}
		most := largeBlock
		if exact {
			most = int(min(n-done, largeBlock))
		}
		b, k, err := src.first(largeBlock, 0, most)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		_, err = dst.send(b.b[:min(int64(k), n-done)], stall)
		extra := int64(k) > n-done
		done += min(int64(k), n-done)
		r.bufs.put(b)
		if err != nil {
			return done, errors.Join(errWrite, err)
		}
		if extra {
			return done, errExtra
		}
	}
	return done, nil
}

// errExtra says that more came than was due.
var errExtra = errors.New("more than its length")
