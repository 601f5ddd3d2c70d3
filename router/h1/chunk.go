package h1

import "bytes"

// maxTrailer bounds the trailer section, and maxExtension the extensions of one chunk.
const (
	maxTrailer   = 8 << 10
	maxExtension = 256
)

type chunkState uint8

const (
	chunkSize chunkState = iota // first digit
	chunkDigits
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer // at the start of a trailer line, or of the last line
	chunkTrailerLine
	chunkTrailerLF
	chunkEndLF
	chunkDone
)

// Chunks decodes a chunked body (RFC 9112, section 7.1) in pieces as they arrive. Its zero value, and
// what Reset leaves, is ready for a body. Chunk extensions are left out.
type Chunks struct {
	state    chunkState
	digits   uint8
	extra    int // bytes of this chunk's extensions
	overhead int // bytes of framing more than what the data can excuse
	left     int64
	trailer  []byte // field lines with their CRLF
}

// Reset makes d ready for another body.
func (d *Chunks) Reset() { *d = Chunks{trailer: d.trailer[:0]} }

// Done tells that the body has ended, trailer and all.
func (d *Chunks) Done() bool { return d.state == chunkDone }

// Trailer returns the trailer's field lines, each with its CRLF, checked, and without any that has no
// business there. It may be used until Reset.
func (d *Chunks) Trailer() []byte { return d.trailer }

// Decode takes framing out of src and moves the data to dst, which may be the same memory. It returns
// how many bytes it wrote and read; it reads all of src unless the body ends before.
func (d *Chunks) Decode(dst, src []byte) (nd, ns int, err error) {
	for ns < len(src) && d.state != chunkDone {
		if d.state == chunkData {
			n := copy(dst[nd:], src[ns:ns+int(min(d.left, int64(len(src)-ns)))])
			nd, ns, d.left = nd+n, ns+n, d.left-int64(n)
			d.overhead = max(0, d.overhead-n)
			if d.left == 0 {
				d.state = chunkDataCR
			}
			continue
		}
		if err := d.step(src[ns]); err != nil {
			return nd, ns, err
		}
		ns++
	}
	return nd, ns, nil
}

func (d *Chunks) step(c byte) error {
	// Many tiny chunks with long extensions make much work of little data; nobody honest does that.
	if d.overhead++; d.overhead > 64<<10 {
		return ErrChunk
	}
	switch d.state {
	case chunkSize, chunkDigits:
		if v := hexValue(c); v >= 0 {
			if d.digits++; d.digits > 15 {
				return ErrChunk
			}
			d.left, d.state = d.left<<4|int64(v), chunkDigits
			return nil
		}
		switch {
		case d.state == chunkSize:
			return ErrChunk
		case c == '\r':
			d.state = chunkSizeLF
		case c == ';':
			d.state, d.extra = chunkExtension, 0
		default:
			return ErrChunk
		}
	case chunkExtension:
		if d.extra++; d.extra > maxExtension {
			return ErrChunk
		}
		if c == '\r' {
			d.state = chunkSizeLF
		} else if c < 0x20 && c != '\t' || c == 0x7f {
			return ErrChunk
		}
	case chunkSizeLF:
		if c != '\n' {
			return ErrChunk
		}
		d.digits = 0
		if d.state = chunkData; d.left == 0 {
			d.state = chunkTrailer
		}
	case chunkDataCR:
		if c != '\r' {
			return ErrChunk
		}
		d.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return ErrChunk
		}
		d.state = chunkSize
	case chunkTrailer, chunkTrailerLine, chunkTrailerLF, chunkEndLF:
		return d.trailerByte(c)
	case chunkData, chunkDone:
	}
	return nil
}

func (d *Chunks) trailerByte(c byte) error {
	switch d.state {
	case chunkTrailer:
		if c == '\r' {
			d.state = chunkEndLF
			return nil
		}
		d.state = chunkTrailerLine
		fallthrough
	case chunkTrailerLine:
		if c == '\n' || len(d.trailer) >= maxTrailer {
			return ErrTrailer
		}
		if d.trailer = append(d.trailer, c); c == '\r' {
			d.state = chunkTrailerLF
		}
	case chunkTrailerLF:
		if c != '\n' {
			return ErrTrailer
		}
		d.trailer = append(d.trailer, c)
		d.state = chunkTrailer
		return d.checkTrailer()
	case chunkEndLF:
		if c != '\n' {
			return ErrTrailer
		}
		d.state = chunkDone
	case chunkSize, chunkDigits, chunkExtension, chunkSizeLF, chunkData, chunkDataCR, chunkDataLF, chunkDone:
	}
	return nil
}

// checkTrailer checks the last trailer line, and drops it where it would frame, route or speak for us.
func (d *Chunks) checkTrailer() error {
	at := bytes.LastIndex(d.trailer[:len(d.trailer)-2], crlfcrlf[:2])
	if at < 0 {
		at = 0
	} else {
		at += 2
	}
	l := d.trailer[at : len(d.trailer)-2]
	colon := bytes.IndexByte(l, ':')
	if colon < 1 || !token(l[:colon]) || !printable(l[colon+1:], true) {
		return ErrTrailer
	}
	if n := NameOf(l[:colon]); n != Other && n != Date && n != Origin && n != Via || bytes.IndexByte(l[:colon], '_') >= 0 {
		d.trailer = d.trailer[:at]
	}
	return nil
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// ChunkRoom is what EncodeChunk needs before the data; it needs 2 bytes after.
const ChunkRoom = 10

// EncodeChunk makes a chunk of b[at:end], at least one byte and less than 2^32, in place: framing goes
// into the room before and after. The chunk is b[start:stop].
func EncodeChunk(b []byte, at, end int) (start, stop int) {
	const hex = "0123456789abcdef"
	b[at-1], b[at-2] = '\n', '\r'
	start = at - 2
	for n := end - at; n > 0; n >>= 4 {
		start--
		b[start] = hex[n&15]
	}
	b[end], b[end+1] = '\r', '\n'
	return start, end + 2
}
