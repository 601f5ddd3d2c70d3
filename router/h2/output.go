package h2

import (
	"encoding/binary"
	"runtime"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// output is what is to be sent to a client. Streams append frames while they hold the connection's mutex. The first one
// that wants them sent sends all that there is, without the mutex; what others append meanwhile goes with the next call.
type output struct {
	conn     *Conn
	pending  []byte
	spare    []byte // the other buffer
	flushing bool
	room     sync.Cond // signalled when the client has taken something

	encoder *hpack.Encoder
	block   fieldBlock
	names   interned
}

const (
	// maxOutput is how many bytes may wait before streams wait to append more.
	maxOutput = 64 << 10
	// keptOutput is the size of a buffer that an idle connection keeps.
	keptOutput = 4 << 10
	// flushRounds is how often a goroutine sends what others have appended meanwhile, before one of its own goes on with it.
	flushRounds = 4
)

func (o *output) init(c *Conn) {
	o.conn = c
	o.room.L = &c.mu
	o.encoder = hpack.NewEncoder(&o.block)
}

// fieldBlock is a compressed list of fields.
type fieldBlock []byte

func (b *fieldBlock) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// flush sends what there is. mu is held, and let go meanwhile.
func (c *Conn) flush() {
	o := &c.output
	if o.flushing || len(o.pending) == 0 || c.ended {
		return
	}
	o.flushing = true
	if c.running > 1 {
		// Others may be about to append something too: one call for all is cheaper.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	for range flushRounds {
		if !c.sendOutput() {
			return
		}
	}
	c.workers.Go(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for c.sendOutput() {
		}
	})
}

// sendOutput sends what there is, and tells whether there is more. mu is held, and let go meanwhile.
func (c *Conn) sendOutput() bool {
	o := &c.output
	b := o.pending
	o.pending, o.spare = o.spare[:0], nil
	c.mu.Unlock()
	err := c.Send(b)
	c.mu.Lock()
	c.giveBack(b)
	o.spare = b[:0]
	o.room.Broadcast()
	if err != nil && !c.ended {
		c.ended = true // the reading goroutine does the rest
		c.Cut()
	}
	o.flushing = len(o.pending) > 0 && !c.ended
	return o.flushing
}

// full tells that a stream is to wait before it appends more.
func (o *output) full() bool { return len(o.pending) >= maxOutput }

// shrink gives back the memory of an idle connection's buffers.
func (o *output) shrink() {
	if cap(o.spare) > keptOutput {
		o.spare = nil
	}
	if len(o.pending) == 0 && cap(o.pending) > keptOutput {
		o.pending = nil
	}
}

// appendFrame appends a frame (RFC 9113, section 4.1).
func (o *output) appendFrame(kind http2.FrameType, flags http2.Flags, id uint32, payload ...byte) {
	n := len(payload)
	o.pending = append(o.pending, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	o.pending = binary.BigEndian.AppendUint32(o.pending, id)
	o.pending = append(o.pending, payload...)
}

func (o *output) appendNumber(kind http2.FrameType, id, n uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	o.appendFrame(kind, 0, id, b[:]...)
}

func (o *output) appendReset(id uint32, code http2.ErrCode) {
	o.appendNumber(http2.FrameRSTStream, id, uint32(code))
}

func (o *output) appendWindow(id uint32, n int64) {
	o.appendNumber(http2.FrameWindowUpdate, id, uint32(n))
}

func (o *output) appendPing(ack bool, data [8]byte) {
	flags := http2.Flags(0)
	if ack {
		flags = http2.FlagPingAck
	}
	o.appendFrame(http2.FramePing, flags, 0, data[:]...)
}

func (o *output) appendGoAway(last uint32, code http2.ErrCode) {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], last)
	binary.BigEndian.PutUint32(b[4:], uint32(code))
	o.appendFrame(http2.FrameGoAway, 0, 0, b[:]...)
}

func (o *output) appendSettings(settings ...http2.Setting) {
	var b []byte
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	o.appendFrame(http2.FrameSettings, 0, 0, b...)
}

// appendFields appends the fields that field has compressed, and empties the list.
func (o *output) appendFields(id uint32, end bool) {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for rest := o.block; ; {
		n := min(len(rest), maxFrame)
		if n == len(rest) {
			flags |= http2.FlagHeadersEndHeaders
		}
		o.appendFrame(kind, flags, id, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
		kind, flags = http2.FrameContinuation, 0
	}
	o.block = o.block[:0]
}

// field compresses a field. Both sides remember what is likely to come again.
func (o *output) field(name, value []byte, remember bool) {
	var room [64]byte
	f := hpack.HeaderField{Name: o.names.of(appendLower(room[:0], name)), Sensitive: !remember}
	if remember {
		f.Value = o.names.of(value)
	} else {
		f.Value = string(value)
	}
	_ = o.encoder.WriteField(f) // into memory
}

func appendLower(dst, src []byte) []byte {
	for _, c := range src {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// interned has the text of short byte slices that came lately, so that they need no memory of their own each time.
type interned [64]string

func (t *interned) of(b []byte) string {
	if len(b) > 64 {
		return string(b)
	}
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	s := &t[(h^h>>16)%uint32(len(t))]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}
