package h1

// Response is a response's head.
type Response struct {
	Head
	Status int    // 100 to 999
	Reason []byte // may be empty
}

// Parse reads a whole head, which ends in CRLF CRLF and has at most MaxHead bytes.
func (r *Response) Parse(b []byte) error {
	l, next, err := line(b, 0)
	if err != nil {
		return err
	}
	if len(l) < 12 || string(l[:7]) != "HTTP/1." || l[7] != '0' && l[7] != '1' || l[8] != ' ' {
		return ErrLine
	}
	r.Minor = l[7] - '0'
	n, ok := number(l[9:12])
	if !ok || n < 100 {
		return ErrLine
	}
	r.Status, r.Reason = int(n), nil
	if len(l) > 12 {
		if l[12] != ' ' || !printable(l[13:], true) {
			return ErrLine
		}
		r.Reason = l[13:]
	}
	if err := r.Head.parse(b, next); err != nil {
		return err
	}
	if r.Minor == 0 {
		if r.Chunked {
			return ErrEncoding
		}
		r.Close = r.Close || !r.KeepAlive
	}
	return nil
}

// Bodyless tells that the response has no body whatever its fields say (RFC 9112, section 6.3).
func (r *Response) Bodyless(head bool) bool {
	return head || r.Status < 200 || r.Status == 204 || r.Status == 304
}
