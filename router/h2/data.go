package h2

import "golang.org/x/net/http2"

// refuse resets a stream. mu is held.
func (c *Conn) refuse(id uint32, code http2.ErrCode) {
	if s := c.streams[id]; s != nil {
		c.reset(s, code)
		return
	}
	c.appendReset(id, code)
	c.finished.add(id)
	if !c.budget.spend() {
		c.Cut()
	}
}

// reset ends a stream in the router's stead. mu is held.
func (c *Conn) reset(s *Stream, code http2.ErrCode) {
	c.appendReset(s.id, code)
	c.finished.add(s.id)
	c.remove(s)
	s.leave()
}

// remove forgets a stream. What of its body nobody read makes room for others'. mu is held.
func (c *Conn) remove(s *Stream) {
	delete(c.streams, s.id)
	c.reopen(int64(len(s.in) - s.at))
	s.in, s.at = s.in[:0], 0
}

// resetBy ends a stream that the client has reset. mu is held.
func (c *Conn) resetBy(f *http2.RSTStreamFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if s := c.streams[f.StreamID]; s != nil {
		c.remove(s)
		s.leave()
	}
	c.finished.remove(f.StreamID)
	return nil
}

// data takes a part of a body. mu is held.
func (c *Conn) data(f *http2.DataFrame) error {
	size, b := int64(f.Length), f.Data()
	if size > c.receive {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.receive -= size
	s := c.streams[f.StreamID]
	if s == nil || s.received {
		c.reopen(size)
		switch {
		case f.StreamID > c.last:
			return http2.ConnectionError(http2.ErrCodeProtocol)
		case s != nil || !c.finished.has(f.StreamID):
			c.refuse(f.StreamID, http2.ErrCodeStreamClosed)
		}
		return nil
	}
	c.budget.earn(framePays)
	padding := size - int64(len(b))
	switch {
	case size > s.receive:
		c.reopen(size)
		c.reset(s, http2.ErrCodeFlowControl)
		return nil
	case s.due >= 0 && int64(len(b)) > s.due, f.StreamEnded() && s.due > int64(len(b)):
		c.reopen(size)
		c.reset(s, http2.ErrCodeProtocol)
		return nil
	}
	s.receive -= size
	c.reopen(padding)
	s.reopen(padding)
	if s.due >= 0 {
		s.due -= int64(len(b))
	}
	s.in = append(s.in, b...)
	if f.StreamEnded() {
		s.endBody(nil)
	} else {
		s.wake.Broadcast()
	}
	return nil
}

// reopen makes room for n more bytes of bodies. The client hears of it when it is worth a frame. mu is held.
func (c *Conn) reopen(n int64) {
	if c.receiveDue += n; c.receiveDue >= connWindow/4 {
		c.appendWindow(0, c.receiveDue)
		c.receive += c.receiveDue
		c.receiveDue = 0
	}
}
