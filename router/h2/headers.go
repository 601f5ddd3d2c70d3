package h2

import (
	"errors"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headers reads the fields of a request, or the trailers behind one.
func (c *Conn) headers(f *http2.HeadersFrame) error {
	c.mu.Lock()
	s, fresh := c.streams[f.StreamID], f.StreamID > c.last
	late := c.finished.has(f.StreamID)
	closed := s == nil && !fresh && !late || s != nil && s.received && s.sent
	c.mu.Unlock()
	switch {
	case f.StreamID%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case closed:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	id, ended, depends := f.StreamID, f.StreamEnded(), f.HasPriority() && f.Priority.StreamDep == f.StreamID
	var emit func(hpack.HeaderField)
	if fresh {
		c.head.reset(c.MaxHead)
		emit = c.head.add
	} else {
		c.trailer = trailer{text: c.trailer.text[:0]}
		emit = c.trailer.add
	}
	if err := c.fields(f, emit); err != nil {
		return err
	}
	if fresh {
		return c.open(id, ended, depends)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[id] != s || s == nil {
		return nil // it has ended meanwhile
	}
	switch {
	case s.received:
		c.reset(s, http2.ErrCodeStreamClosed)
	case !ended || c.trailer.invalid:
		c.reset(s, http2.ErrCodeProtocol)
	default:
		s.endBody(c.trailer.text)
	}
	return nil
}

// maxContinued is how many bytes a list of fields may have, as it comes.
const maxContinued = 64 << 10

// fields decompresses a list of fields, which may go on in further frames.
func (c *Conn) fields(f *http2.HeadersFrame, emit func(hpack.HeaderField)) error {
	c.decoder.SetEmitFunc(emit)
	part, last := f.HeaderBlockFragment(), f.HeadersEnded()
	for size, n := len(part), 0; ; n++ {
		if _, err := c.decoder.Write(part); err != nil {
			if errors.Is(err, hpack.ErrStringLength) {
				return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
			}
			return http2.ConnectionError(http2.ErrCodeCompression)
		}
		if last {
			break
		}
		next, err := c.frames.ReadFrame()
		if err != nil {
			return c.mistake(err, true)
		}
		more := next.(*http2.ContinuationFrame) // the library accepts no other here
		part, last = more.HeaderBlockFragment(), more.HeadersEnded()
		if size += len(part); size > maxContinued || n > maxContinued/maxFrame+8 {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
	}
	if err := c.decoder.Close(); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	return nil
}

// open begins a stream, whose fields are in c.head.
func (c *Conn) open(id uint32, ended, depends bool) error {
	bad := c.head.end(!ended)
	c.mu.Lock()
	c.last = max(c.last, id)
	switch {
	case c.left || c.ended:
		c.mu.Unlock()
		return nil // the client knows that it is ignored
	case c.head.invalid || depends:
		c.refuse(id, http2.ErrCodeProtocol)
		c.mu.Unlock()
		return nil
	case len(c.streams) >= maxStreams || c.running >= maxRunning:
		c.refuse(id, http2.ErrCodeRefusedStream)
		c.mu.Unlock()
		return nil
	}
	s := c.take()
	if s == nil {
		// No core is made while the mutex is held: others hold locks of its own while they wait for the mutex.
		c.mu.Unlock()
		s = c.newStream()
		c.mu.Lock()
	}
	s.begin(id, ended, &c.head, bad)
	c.streams[id] = s
	c.running++
	c.idle.Store(0)
	c.mu.Unlock()
	s.start <- struct{}{} // it is waiting
	return nil
}

// take returns a stream without a request, nil where there is none. mu is held.
func (c *Conn) take() *Stream {
	if n := len(c.free); n > 0 {
		s := c.free[n-1]
		c.free[n-1] = nil
		c.free = c.free[:n-1]
		return s
	}
	return nil
}

func (c *Conn) newStream() *Stream {
	s := &Stream{c: c, start: make(chan struct{}, 1)}
	s.wake.L = &c.mu
	s.core = c.Open(s)
	c.workers.Go(s.run)
	return s
}
