package h2

import (
	"errors"
	"io"

	"golang.org/x/net/http2"
)

// read reads what the client sends until the connection ends. It returns what the client has done wrong, if anything is
// to be said.
func (c *Conn) read() (code http2.ErrCode, said bool) {
	err := c.begin()
	for err == nil {
		if c.buffered.Buffered() == 0 {
			// All at once, before it waits.
			c.mu.Lock()
			c.flush()
			c.mu.Unlock()
		}
		err = c.readFrame()
	}
	if broken, ok := errors.AsType[http2.ConnectionError](err); ok {
		return http2.ErrCode(broken), true
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return http2.ErrCodeFrameSize, true
	}
	return 0, false
}

// begin reads the client's preface, and says what the router wants (RFC 9113, section 3.4).
func (c *Conn) begin() error {
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.buffered, preface[:]); err != nil {
		return err
	}
	if string(preface[:]) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	c.began = true
	c.appendSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: maxFrame},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.MaxHead)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1},
	)
	c.appendWindow(0, connWindow-firstWindow)
	c.flush()
	c.timer.Reset(c.Idle / 4)
	c.mu.Unlock()
	f, err := c.frames.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings(settings)
}

// readFrame reads a frame and does what it says.
func (c *Conn) readFrame() error {
	h, err := c.frames.ReadFrameHeader()
	if err != nil {
		return err
	}
	c.heard.Store(c.Now())
	f, err := c.frames.ReadFrameForHeader(h)
	if h.Type == http2.FrameHeaders {
		if err != nil {
			return c.mistake(err, true)
		}
		return c.headers(f.(*http2.HeadersFrame))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if carriesNothing(h) && !c.budget.spend() {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if err != nil {
		return c.mistake(err, false)
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.data(f)
	case *http2.RSTStreamFrame:
		return c.resetBy(f)
	case *http2.WindowUpdateFrame:
		return c.window(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		c.ping(f)
	case *http2.GoAwayFrame:
		// It opens no more streams, and ends the connection itself.
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			c.refuse(f.StreamID, http2.ErrCodeProtocol)
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// mistake resets the stream whose frame can't be read, where no more than that is wrong. whole says that a frame of this
// type concerns the connection. mu is held, unless whole.
func (c *Conn) mistake(err error, whole bool) error {
	one, ok := errors.AsType[http2.StreamError](err)
	switch {
	case ok && whole:
		return http2.ConnectionError(one.Code)
	case ok && one.StreamID > c.last:
		return http2.ConnectionError(one.Code)
	case ok:
		c.refuse(one.StreamID, one.Code)
		return nil
	case errors.Is(err, http2.ErrFrameTooLarge):
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	return err
}

// window opens a window for what is sent. mu is held.
func (c *Conn) window(f *http2.WindowUpdateFrame) error {
	n := int64(f.Increment)
	if f.StreamID == 0 {
		if c.send += n; c.send > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, s := range c.streams {
			s.wake.Broadcast()
		}
		return nil
	}
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if s := c.streams[f.StreamID]; s != nil {
		if s.send += n; s.send > maxWindow {
			c.reset(s, http2.ErrCodeFlowControl)
			return nil
		}
		s.wake.Broadcast()
	}
	return nil
}

// settings takes over what the client wants. mu is held.
func (c *Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(set http2.Setting) error {
		if err := set.Valid(); err != nil {
			return err
		}
		switch set.ID {
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSize(set.Val)
		case http2.SettingInitialWindowSize:
			more := int64(set.Val) - c.firstSend
			c.firstSend = int64(set.Val)
			for _, s := range c.streams {
				if s.send += more; s.send > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				s.wake.Broadcast()
			}
		}
		return nil // all else is of no use to the router
	})
	c.appendFrame(http2.FrameSettings, http2.FlagSettingsAck, 0)
	return err
}

// ping answers a question, or takes the answer to one. mu is held.
func (c *Conn) ping(f *http2.PingFrame) {
	switch {
	case !f.IsAck():
		c.appendPing(true, f.Data)
	case f.Data == farewellPing && c.leaving:
		c.leave()
	default:
		c.pinged = 0
	}
}
