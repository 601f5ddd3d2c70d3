package router

import "encoding/binary"

// WebSocket frames (RFC 6455, section 5). The router changes none. It follows where they end, so that it can say
// goodbye between two of them.

// opClose is the opcode of a close frame.
const opClose = 8

// frames follows the frames in one direction of a WebSocket.
type frames struct {
	head   [14]byte
	n      int    // bytes of head that have come
	left   uint64 // bytes of the payload that are still to come
	closed bool   // a close frame has come whole; nothing follows it
}

// between tells that no frame is under way.
func (f *frames) between() bool { return f.n == 0 && f.left == 0 }

// pass follows b and returns its length. With stop it returns at the end of the first frame, how much of b that is.
func (f *frames) pass(b []byte, stop bool) int {
	for at := 0; at < len(b); {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)-at))
			f.left -= n
			at += int(n)
		} else {
			f.head[f.n] = b[at]
			f.n++
			at++
			if f.n < f.headSize() {
				continue
			}
			f.left = f.payload()
		}
		if f.left == 0 {
			f.closed = f.closed || f.head[0]&0x0f == opClose
			f.n = 0
			if stop {
				return at
			}
		}
	}
	return len(b)
}

// headSize is how long the head is, as far as that is known.
func (f *frames) headSize() int {
	if f.n < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return size
}

func (f *frames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}

// goingAway is the payload of a close frame that ends a connection because an endpoint goes away: code 1001.
var goingAway = []byte("\x03\xe9going away")

// appendClose adds a close frame. A client's frames are masked, a server's are not.
func appendClose(b []byte, masked bool, key uint32) []byte {
	b = append(b, 0x80|opClose)
	if !masked {
		return append(append(b, byte(len(goingAway))), goingAway...)
	}
	b = append(b, 0x80|byte(len(goingAway)))
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, key)
	for i, c := range goingAway {
		b = append(b, c^b[at+i%4])
	}
	return b
}
