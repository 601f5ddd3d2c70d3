package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestFramesThereAndBack(t *testing.T) {
	var b bytes.Buffer
	w := NewFrameWriter(&b)
	long := bytes.Repeat([]byte("0123456789abcdef"), MaxFrame/16*5/2)
	if err := errors.Join(w.Write(FrameStdin, nil), w.Write(FrameStdout, long), w.WriteUint32(FrameExit, 143), w.Write(FrameResize, Size{24, 80}.Bytes())); err != nil {
		t.Fatal(err)
	}
	var out []byte
	var types []FrameType
	for {
		ty, p, err := ReadFrame(&b)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, ty)
		switch ty {
		case FrameStdout:
			out = append(out, p...)
		case FrameExit:
			if n, ok := Uint32(p); !ok || n != 143 {
				t.Errorf("exit %d %v", n, ok)
			}
		case FrameResize:
			if s, ok := ParseSize(p); !ok || s != (Size{24, 80}) {
				t.Errorf("size %v %v", s, ok)
			}
		}
	}
	if len(types) != 6 || !bytes.Equal(out, long) {
		t.Errorf("got frames %v with %d bytes of output", types, len(out))
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for _, in := range []string{"\x00", "\x01\xff\xff\xff\xff", "\x01\x00\x00\x00\x05abc"} {
		if _, _, err := ReadFrame(strings.NewReader(in)); err == nil || err == io.EOF {
			t.Errorf("%q was read: %v", in, err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			if _, p, err := ReadFrame(r); err != nil {
				return
			} else if len(p) > MaxFrame {
				t.Fatal("a frame above the limit")
			}
		}
	})
}

// A server that never grants more gets no more than the window, and a client that gives up is not stuck.
func TestInputStaysWithinTheWindow(t *testing.T) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := talk(ctx, ours, Streams{Stdin: endless{}})
		done <- err
	}()
	got := 0
	for {
		theirs.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, p, err := ReadFrame(theirs)
		if err != nil {
			break
		}
		got += len(p)
	}
	if got != Window {
		t.Errorf("%d bytes came, the window is %d", got, Window)
	}
	cancel()
	if err := <-done; cloud.CodeOf(err) != cloud.Interrupted {
		t.Errorf("ended with %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
