package h1

import "bytes"

// Limits of a head.
const (
	MaxHead   = 32 << 10
	MaxFields = 100
)

// Field is a field line of a head, as offsets into it.
type Field struct {
	Name                       Name
	Underscore                 bool // the name has a '_'
	nameAt, nameEnd, at, endAt uint16
}

// Head is what request and response heads have in common. It refers to the bytes that it was read
// from; they must stay as they are while it is in use.
type Head struct {
	Minor   uint8 // 1 for HTTP/1.1, 0 for HTTP/1.0
	Chunked bool  // the body is chunked
	Length  int64 // Content-Length, 0 or more; -1 where there is none

	// What Connection says.
	Close, KeepAlive, Upgrade bool
	Named                     bool // it names fields that are not to be forwarded

	HasUnderscore bool // some field name has a '_'

	buf    []byte
	n      int
	fields [MaxFields]Field
}

// Fields returns the field lines in their order.
func (h *Head) Fields() []Field { return h.fields[:h.n] }

// NameOf returns a field's name as it came.
func (h *Head) NameOf(f *Field) []byte { return h.buf[f.nameAt:f.nameEnd] }

// Value returns a field's value without the white space around it.
func (h *Head) Value(f *Field) []byte { return h.buf[f.at:f.endAt] }

// Get returns the value of the first field of that name, which is not Other; nil where there is none.
func (h *Head) Get(n Name) []byte {
	for i := range h.Fields() {
		if f := &h.fields[i]; f.Name == n {
			return h.Value(f)
		}
	}
	return nil
}

// Lookup returns the value of the nth field, from 0, of a name in lower case; nil where there are fewer.
func (h *Head) Lookup(name string, nth int) []byte {
	for i := range h.Fields() {
		if f := &h.fields[i]; EqualFold(h.NameOf(f), name) {
			if nth == 0 {
				return h.Value(f)
			}
			nth--
		}
	}
	return nil
}

// Dropped tells that the Connection field names f, so that it is not to be forwarded.
func (h *Head) Dropped(f *Field) bool {
	if !h.Named {
		return false
	}
	name := h.NameOf(f)
	for i := range h.Fields() {
		if c := &h.fields[i]; c.Name == Connection {
			for t := range Tokens(h.Value(c)) {
				if len(t) == len(name) && bytes.EqualFold(t, name) {
					return true
				}
			}
		}
	}
	return false
}

// End returns the length of the head that b starts with, 0 while it is not complete. It looks at
// bytes from seen on; those before were looked at already.
func End(b []byte, seen int) (int, error) {
	from := max(0, seen-3)
	if i := bytes.Index(b[from:], crlfcrlf); i >= 0 {
		if n := from + i + 4; n <= MaxHead {
			return n, nil
		}
		return 0, ErrTooLarge
	}
	if len(b) >= MaxHead {
		return 0, ErrTooLarge
	}
	// Whoever ends lines in LF alone would wait for us as we for them.
	for rest := b[from:]; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return 0, nil
		}
		if at := len(b) - len(rest) + i; at == 0 || b[at-1] != '\r' {
			return 0, ErrBareLF
		}
		rest = rest[i+1:]
	}
}

var crlfcrlf = []byte("\r\n\r\n")

// line returns the line that starts at off, without its CRLF, and where the next one starts.
func line(b []byte, off int) ([]byte, int, error) {
	i := bytes.IndexByte(b[off:], '\n')
	if i < 0 {
		return nil, 0, ErrLine
	}
	if i == 0 || b[off+i-1] != '\r' {
		return nil, 0, ErrBareLF
	}
	return b[off : off+i-1], off + i + 1, nil
}

// parse reads the field lines from off to the empty line that ends the head.
func (h *Head) parse(b []byte, off int) error {
	h.buf, h.n = b, 0
	h.Length, h.Chunked = -1, false
	h.Close, h.KeepAlive, h.Upgrade, h.Named, h.HasUnderscore = false, false, false, false, false
	encodings := 0
	for {
		l, next, err := line(b, off)
		if err != nil {
			return err
		}
		if len(l) == 0 {
			break
		}
		if h.n == MaxFields {
			return ErrTooMany
		}
		f := &h.fields[h.n]
		if err := h.field(f, l, off); err != nil {
			return err
		}
		h.n++
		switch f.Name {
		case ContentLength:
			n, ok := number(h.Value(f))
			if !ok || h.Length >= 0 {
				return ErrLength
			}
			h.Length = n
		case TransferEncoding:
			if encodings++; encodings > 1 {
				return ErrEncoding
			}
			if err := h.encoding(h.Value(f)); err != nil {
				return err
			}
		case Connection:
			h.connection(h.Value(f))
		}
		off = next
	}
	if encodings > 0 && h.Length >= 0 {
		return ErrTwoLengths
	}
	return nil
}

func (h *Head) field(f *Field, l []byte, off int) error {
	if l[0] == ' ' || l[0] == '\t' {
		return ErrFold
	}
	colon := bytes.IndexByte(l, ':')
	if colon < 1 {
		return ErrName
	}
	f.Underscore = false
	for _, c := range l[:colon] {
		if class[c]&isToken == 0 {
			return ErrName
		}
		if c == '_' {
			f.Underscore, h.HasUnderscore = true, true
		}
	}
	at, end := colon+1, len(l)
	for at < end && (l[at] == ' ' || l[at] == '\t') {
		at++
	}
	for end > at && (l[end-1] == ' ' || l[end-1] == '\t') {
		end--
	}
	if !printable(l[at:end], true) {
		return ErrValue
	}
	f.nameAt, f.nameEnd = uint16(off), uint16(off+colon)
	f.at, f.endAt = uint16(off+at), uint16(off+end)
	f.Name = NameOf(l[:colon])
	return nil
}

func (h *Head) encoding(v []byte) error {
	if EqualFold(v, "chunked") {
		h.Chunked = true
		return nil
	}
	// Chunked last, once, with other codings before it, is a fair message that we don't implement.
	var last []byte
	chunked := 0
	for t := range Tokens(v) {
		if last = t; EqualFold(t, "chunked") {
			chunked++
		}
	}
	if chunked == 1 && EqualFold(last, "chunked") {
		return ErrCoding
	}
	return ErrEncoding
}

func (h *Head) connection(v []byte) {
	for t := range Tokens(v) {
		switch {
		case EqualFold(t, "close"):
			h.Close = true
		case EqualFold(t, "keep-alive"):
			h.KeepAlive = true
		case EqualFold(t, "upgrade"):
			h.Upgrade = true
		default:
			h.Named = true
		}
	}
}

// Twin tells that f, whose name has a '_', may be taken for another field by whoever does not tell '_'
// from '-' (CGI and its heirs): one that a gateway treats apart, or one that is in this head too.
func (h *Head) Twin(f *Field) bool {
	name := h.NameOf(f)
	var dashed [32]byte
	if len(name) <= len(dashed) {
		if NameOf(dashes(dashed[:len(name)], name)) != Other {
			return true
		}
	}
	for i := range h.Fields() {
		if g := &h.fields[i]; g != f && !g.Underscore && sameDashed(name, h.NameOf(g)) {
			return true
		}
	}
	return len(name) > len(dashed) && EqualFold(name[:1], "x") // X_Forwarded_ and whatever follows
}

func dashes(dst, name []byte) []byte {
	for i, c := range name {
		if c == '_' {
			c = '-'
		}
		dst[i] = c
	}
	return dst
}

func sameDashed(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		d := b[i]
		if c == '_' {
			c = '-'
		}
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
