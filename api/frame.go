package api

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// ExecProtocol is the protocol that exec and run switch to (RFC 9110, section 7.8). Both sides then send
// frames: a type in one byte, the payload's length in four (big endian), the payload.
//
// Standard input flows by credit: the client may send Window bytes of it, and as many more as the
// server grants. So the server always reads on, and sees at once when the client is gone.
const ExecProtocol = "micro-exec/1"

// FrameType says what a frame carries.
type FrameType byte

// The types of frames. FrameExit or FrameError is the server's last.
const (
	FrameStdin  FrameType = 0 // client: input; an empty one is its end, output goes on
	FrameStdout FrameType = 1 // server
	FrameStderr FrameType = 2 // server
	FrameResize FrameType = 3 // client: rows and columns, two bytes each
	FrameExit   FrameType = 4 // server: exit code, four bytes
	FrameError  FrameType = 5 // server: a Problem in JSON
	FrameGrant  FrameType = 6 // server: how many more bytes of input may come, four bytes
)

const (
	// MaxFrame bounds a frame's payload, in bytes.
	MaxFrame = 64 << 10
	// Window is how many bytes of input the client may send before the first grant.
	Window = 256 << 10
)

// FrameWriter writes frames, from several goroutines too.
type FrameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// NewFrameWriter writes to w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Write sends p in as many frames of the type as it takes; an empty p in one.
func (f *FrameWriter) Write(t FrameType, p []byte) error {
	for first := true; first || len(p) > 0; first = false {
		n := min(len(p), MaxFrame)
		frame := make([]byte, 5, 5+n)
		frame[0] = byte(t)
		binary.BigEndian.PutUint32(frame[1:], uint32(n))
		frame = append(frame, p[:n]...)
		f.mu.Lock()
		_, err := f.w.Write(frame)
		f.mu.Unlock()
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// WriteUint32 sends a frame with one number.
func (f *FrameWriter) WriteUint32(t FrameType, n uint32) error {
	return f.Write(t, binary.BigEndian.AppendUint32(nil, n))
}

// Stream is an io.Writer whose bytes go out in frames of one type.
func (f *FrameWriter) Stream(t FrameType) io.Writer { return frameStream{f, t} }

type frameStream struct {
	f *FrameWriter
	t FrameType
}

func (s frameStream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.f.Write(s.t, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadFrame reads the next frame. The error is io.EOF only between two frames.
func ReadFrame(r io.Reader) (FrameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes, at most %d are allowed", n, MaxFrame)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return 0, nil, fmt.Errorf("a frame broke off: %w", io.ErrUnexpectedEOF)
	}
	return FrameType(head[0]), p, nil
}

// Uint32 reads the payload of FrameExit and FrameGrant.
func Uint32(p []byte) (uint32, bool) {
	if len(p) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(p), true
}

// Size is a terminal's, in characters.
type Size struct{ Rows, Columns uint16 }

// Bytes is the payload of FrameResize.
func (s Size) Bytes() []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Rows), s.Columns)
}

// ParseSize reads the payload of FrameResize.
func ParseSize(p []byte) (Size, bool) {
	if len(p) != 4 {
		return Size{}, false
	}
	return Size{binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])}, true
}
