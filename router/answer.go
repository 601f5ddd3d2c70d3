package router

import (
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// answerRoom is free space at the beginning of an answer's block. The new head is written there, directly before the body, so
// that one system call sends both.
const answerRoom = 1024

// framing is how the end of a body is marked.
type framing uint8

const (
	frameNone framing = iota
	frameLength
	frameChunks
	frameClose // by the end of the connection
)

// answer forwards an answer, of which n bytes are already in b after answerRoom.
func (x *exchange) answer(b *block, n int) ending {
	defer func() { x.c.r.bufs.put(b) }()
	at, end := answerRoom, answerRoom+n
	for {
		size, f := x.readAnswerHead(b, at, &end)
		if f.status == 0 && x.res.Parse(b.b[at:at+size]) != nil {
			f = faultAnswer
		}
		if f.status == 0 && x.res.Status == 101 && !x.upgrade {
			f = faultAnswer
		}
		if f.status != 0 {
			x.abandon()
			x.stopUpload()
			if x.upload != nil && x.upload.fault.status != 0 {
				f = x.upload.fault
			}
			return x.refuse(f)
		}
		at += size
		if x.res.Status == 101 {
			return x.tunnel(b.b[at:end])
		}
		if x.res.Status >= 200 {
			break
		}
		if err := x.sendInterim(); err != nil {
			return x.endWithoutClient(err)
		}
		x.sent = x.c.r.now()
		end = answerRoom + copy(b.b[answerRoom:], b.b[at:end])
		at = answerRoom
	}
	return x.passOn(b, at, end)
}

// readAnswerHead reads until b.b[at:] begins with a complete head, and returns the head's length.
func (x *exchange) readAnswerHead(b *block, at int, end *int) (int, fault) {
	for seen := 0; ; {
		if *end > at {
			size, err := h1.End(b.b[at:*end], seen)
			if err != nil {
				return 0, faultAnswer
			}
			if size > 0 {
				return size, fault{}
			}
			seen = *end - at
		}
		if *end == len(b.b) {
			return 0, faultAnswer
		}
		x.watchClient()
		n, err := x.up.Read(b.b[*end:])
		if err != nil && x.stillDue() {
			continue
		}
		if err != nil {
			return 0, x.awaitFault(err)
		}
		*end += n
	}
}

// sendInterim forwards a 1xx answer, unless the client speaks HTTP/1.0.
func (x *exchange) sendInterim() error {
	if x.req.Minor == 0 {
		return nil
	}
	x.buf = x.appendFields(x.appendStatus(x.buf[:0]))
	x.buf = append(x.buf, "\r\n"...)
	return x.write(x.buf)
}

// write writes to the client. Its errors have errWrite in them.
func (x *exchange) write(b []byte) error {
	if _, err := x.c.w.send(b, x.idleLimit()); err != nil {
		return errors.Join(errWrite, err)
	}
	return nil
}

// idleLimit returns how long a write to the client may stall.
func (x *exchange) idleLimit() time.Duration {
	if x.limits == nil {
		return x.c.r.limits().idle // the request could not be read
	}
	return x.limits.idle
}

// endWithoutClient ends an exchange whose client has left before its answer began.
func (x *exchange) endWithoutClient(err error) ending {
	x.Status = faultClientGone.status
	x.Error = clientFault(err)
	x.abandon()
	return closing
}

// clientFault returns the code for a failure to write to the client.
func clientFault(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return codeClientTimeout
	}
	return faultClientGone.code
}

func (x *exchange) appendStatus(b []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(x.res.Status), 10)
	b = append(b, ' ')
	b = append(b, x.res.Reason...)
	return append(b, "\r\n"...)
}

// appendFields appends the fields that are forwarded to the client.
func (x *exchange) appendFields(b []byte) []byte {
	s := &x.res
	hsts := x.route.tls != nil && x.route.tls.hsts != "" // ours goes
	fields := s.Fields()
	for i := range fields {
		f := &fields[i]
		switch f.Name {
		case h1.ContentLength, h1.XMicroError:
			continue
		case h1.XMicroRelease, h1.XMicroInstance:
			if x.route.headers {
				continue
			}
		default:
			if f.Name.Hop() {
				continue
			}
		}
		if s.Dropped(f) || hsts && h1.EqualFold(s.NameOf(f), "strict-transport-security") {
			continue
		}
		b = appendField(b, s.NameOf(f), s.Value(f))
	}
	return b
}

// passOn sends the answer's head and body.
func (x *exchange) passOn(b *block, at, end int) ending {
	c, s := x.c, &x.res
	x.Status = s.Status
	x.First = time.Duration(c.r.now() - x.begun)
	x.waited()

	from := frameNone
	switch {
	case s.Bodyless(x.req.NoBody):
	case s.Chunked:
		from = frameChunks
	case s.Length >= 0:
		from = frameLength
	default:
		from = frameClose
	}
	to := from
	if to == frameClose {
		to = frameChunks // so that the client can tell the end from a break
	}
	if to == frameChunks && x.req.Minor == 0 {
		to = frameClose
	}
	last := to == frameClose || x.req.Close || c.r.closing.Load()

	h := x.appendFields(x.appendStatus(x.buf[:0]))
	switch {
	case to == frameChunks:
		h = append(h, "Transfer-Encoding: chunked\r\n"...)
	case s.Length >= 0 && !s.Chunked && s.Status >= 200 && s.Status != 204:
		h = append(h, "Content-Length: "...)
		h = strconv.AppendInt(h, s.Length, 10)
		h = append(h, "\r\n"...)
	}
	switch {
	case last:
		h = append(h, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		h = append(h, "Connection: keep-alive\r\n"...)
	}
	h = x.appendOurs(h)
	x.buf = append(h, "\r\n"...)
	x.answered = true
	if x.upload != nil {
		x.upload.answered.Store(true)
	}

	call := x.isCall()
	if call {
		x.noteCall(s.Lookup("grpc-status", 0))
	}
	// whole: nothing but the answer has come, and all of it.
	whole := true
	// The head came in time; the body has a limit of its own.
	x.up.read.set(0)
	var err error
	switch from {
	case frameNone:
		err = x.sendHead(b, at, at)
		whole = at == end && !inDoubt(s)
	case frameLength:
		n := int(min(int64(end-at), s.Length))
		whole = int64(end-at) <= s.Length
		if err = x.sendHead(b, at, at+n); err == nil {
			x.Out = int64(n)
			if rest := s.Length - x.Out; rest > 0 {
				var k int64
				x.watchClient()
				k, err = c.r.relay(c.w, x.up, rest, false, &patience{stall: x.limits.stream}, x.limits.idle)
				x.Out += k
				if errors.Is(err, errExtra) {
					err, whole = nil, false
				}
			}
		}
	case frameChunks, frameClose:
		x.countStream()
		err = x.stream(b, at, end, from == frameChunks, to == frameChunks)
		whole = from == frameChunks && !x.extra
		if call && from == frameChunks && x.chunks.Done() {
			x.noteTrailers(x.chunks.Trailer())
		}
	}
	if err != nil {
		return x.broken(err, to)
	}
	// The upstream's connection is free before the client could ask again.
	if x.stopUpload() && whole {
		x.giveBack()
	} else {
		x.abandon()
	}
	if x.upload != nil && !x.upload.done {
		return lingering
	}
	if !last {
		return keepOpen
	}
	return closing
}

// appendOurs appends the router's own fields.
func (x *exchange) appendOurs(h []byte) []byte {
	if t := x.route.tls; t != nil && t.hsts != "" && x.from.scheme == "https" {
		h = append(h, "Strict-Transport-Security: "...)
		h = append(h, t.hsts...)
		h = append(h, "\r\n"...)
	}
	if p := x.c.listener.HTTP3; p != 0 && x.from.tls {
		h = append(h, "Alt-Svc: h3=\":"...)
		h = strconv.AppendUint(h, uint64(p), 10)
		h = append(h, "\"; ma=3600\r\n"...)
	}
	if x.route.headers {
		h = append(h, "X-Micro-Release: "...)
		h = appendRelease(h, x.Release)
		h = append(h, "\r\nX-Micro-Instance: "...)
		h = append(h, x.Instance...)
		h = append(h, "\r\n"...)
	}
	if x.newCookie {
		h = append(h, "Set-Cookie: "...)
		h = x.appendCookie(h)
		h = append(h, "\r\n"...)
	}
	return h
}

// appendRelease adds a release's name, "r7"; nothing for a part of micro.
func appendRelease(b []byte, r cloud.ReleaseRef) []byte {
	if r.N == 0 {
		return b
	}
	return strconv.AppendInt(append(b, 'r'), int64(r.N), 10)
}

// sendHead sends the head in x.buf and b.b[at:end] behind it, in one system call where it fits.
func (x *exchange) sendHead(b *block, at, end int) error {
	full := b.b[:cap(b.b)]
	if start := at - len(x.buf); start >= 0 {
		copy(full[start:], x.buf)
		return x.write(full[start:end])
	}
	x.buf = append(x.buf, full[at:end]...)
	return x.write(x.buf)
}

// broken ends an exchange in the middle of its answer, in a way that the client can detect.
func (x *exchange) broken(err error, to framing) ending {
	c := x.c
	x.abandon()
	x.stopUpload()
	switch {
	case errors.Is(err, errWrite):
		x.Error = clientFault(err)
	case c.w.gone.Load():
		x.Error = faultClientGone.code
	case c.w.halfExpired.Load():
		x.Error = codeHalfClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.Error = codeTimeout
	default:
		x.Error = "endpoint_broke_off"
	}
	if to == frameClose && c.w.tcp != nil {
		// Without a length, only a reset shows that the answer is incomplete.
		_ = c.w.tcp.SetLinger(0)
	}
	return closing
}

// giveBack returns the upstream's connection after a complete answer, so that other requests can use it.
func (x *exchange) giveBack() {
	r := x.c.r
	w := x.up
	x.up = nil
	x.c.w.up.Store(nil)
	now := r.now()
	if x.reuse == byNobody || x.res.Close {
		x.endpoint.part(w, now)
		return
	}
	idle := x.limits.upstreamIdle
	if v := x.res.Get(h1.KeepAlive); v != nil {
		idle = min(idle, keepAliveTimeout(v))
	}
	if x.reuse == byAnyone {
		x.endpoint.give(w, now, now+int64(idle))
		return
	}
	x.c.own.keep(w)
	x.endpoint.giveToOwner(w, now, now+int64(idle))
}

// keepAliveTimeout returns how long an idle connection to an upstream that sends "timeout=5" is kept. It is shorter than the
// upstream's timeout, so that no request is sent while the upstream closes the connection.
func keepAliveTimeout(v []byte) time.Duration {
	for t := range h1.Tokens(v) {
		const name = "timeout="
		if len(t) > len(name) && h1.EqualFold(t[:len(name)], name) {
			if n, err := strconv.Atoi(string(t[len(name):])); err == nil && n >= 0 && n < 1<<20 {
				return time.Duration(n) * time.Second * 4 / 5
			}
		}
	}
	return time.Hour
}

// stream forwards a body of unknown length, each piece at once. b.b[at:end] has already been read.
func (x *exchange) stream(b *block, at, end int, chunked, encode bool) error {
	r := x.c.r
	if chunked {
		x.chunks.Reset()
	}
	if err := x.streamPiece(b, at, end, chunked, encode, true); err != nil {
		return err
	}
	for !chunked || !x.chunks.Done() {
		if !x.up.read.renew(r.now() + int64(x.limits.stream)) {
			return os.ErrDeadlineExceeded
		}
		x.watchClient()
		next, n, err := x.up.first(largeBlock, h1.ChunkRoom, largeBlock)
		if errors.Is(err, io.EOF) && !chunked {
			if encode {
				return x.write(appendLastChunk(x.buf[:0], nil))
			}
			return nil
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		err = x.streamPiece(next, h1.ChunkRoom, h1.ChunkRoom+n, chunked, encode, false)
		r.bufs.put(next)
		if err != nil {
			return err
		}
	}
	return nil
}

// streamPiece forwards b.b[at:end], after the answer's head if it is the first piece.
func (x *exchange) streamPiece(b *block, at, end int, chunked, encode, first bool) error {
	full := b.b[:cap(b.b)]
	start, stop := at, end
	var bad error
	if chunked {
		var nd, ns int
		nd, ns, bad = x.chunks.Decode(full[at:end], full[at:end])
		x.extra = ns < end-at
		stop = at + nd
	}
	x.Out += int64(stop - start)
	if encode && stop > start {
		start, stop = h1.EncodeChunk(full, at, stop)
	}
	piece, tail := full[start:stop], []byte(nil)
	if chunked && encode && x.chunks.Done() {
		if t := x.chunks.Trailer(); len(t)+len("0\r\n\r\n") <= len(full)-stop {
			piece = appendLastChunk(piece, t)
		} else {
			tail = appendLastChunk(nil, t)
		}
	}
	if len(piece) > 0 || first {
		if err := x.writePiece(full, piece, start, first); err != nil {
			return err
		}
	}
	if tail != nil {
		return x.write(tail)
	}
	return bad
}

func (x *exchange) writePiece(full, piece []byte, start int, first bool) error {
	if !first {
		return x.write(piece)
	}
	if room := start - len(x.buf); room >= 0 {
		copy(full[room:], x.buf)
		return x.write(full[room : start+len(piece)])
	}
	x.buf = append(x.buf, piece...)
	return x.write(x.buf)
}
