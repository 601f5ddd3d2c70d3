package h2

import "golang.org/x/net/http2"

// budget bounds the frames of a client that cost the router work and carry none: PING, SETTINGS, resets, windows opened
// by nothing, empty DATA. Requests that are answered and data that is sent or received pay for them, so that a client
// may do as much as it likes of what is of use.
type budget struct {
	left  int
	begun bool
}

const (
	// maxBudget is how many such frames a client may send in advance.
	maxBudget = 2000
	// An answered request and a frame of data pay for so many.
	answerPays = 20
	framePays  = 4
)

// spend takes a frame into account, and returns false if there were too many.
func (b *budget) spend() bool {
	if !b.begun {
		b.left, b.begun = maxBudget, true
	}
	b.left--
	return b.left >= 0
}

func (b *budget) earn(n int) {
	if b.begun {
		b.left = min(b.left+n, maxBudget)
	}
}

// carriesNothing tells that a frame carries no work.
func carriesNothing(h http2.FrameHeader) bool {
	return h.Type != http2.FrameHeaders && (h.Type != http2.FrameData || h.Length == 0)
}

// finished are the streams that the router ended before the client did. What the client sent before it knew is ignored.
type finished struct {
	ids  [2 * maxStreams]uint32
	next int
}

func (f *finished) add(id uint32) {
	f.ids[f.next] = id
	f.next = (f.next + 1) % len(f.ids)
}

// remove removes a stream that the client has ended too.
func (f *finished) remove(id uint32) {
	for i, one := range f.ids {
		if one == id {
			f.ids[i] = 0
		}
	}
}

func (f *finished) has(id uint32) bool {
	for _, one := range f.ids {
		if one == id {
			return true
		}
	}
	return false
}
