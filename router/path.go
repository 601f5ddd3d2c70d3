package router

import "bytes"

// routingPath returns the path of a request target for the look-up of routes: with percent-encoded unreserved characters
// decoded, '\' replaced by '/', empty and dot segments resolved, and no slash at the end. So "/admin", "//admin" and
// "/x/%2e%2e/admin" have the same route. The forwarded target is not changed. An encoded slash or NUL stays part of its
// segment.
func routingPath(target, scratch []byte) []byte {
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	if plainPath(target) {
		if n := len(target); n > 1 && target[n-1] == '/' {
			return target[:n-1]
		}
		return target
	}
	out := scratch[:0]
	for at := 0; at < len(target); {
		// One segment, with the slash before it.
		segment := len(out)
		out = append(out, '/')
		if c := target[at]; c == '/' || c == '\\' {
			at++
		}
		for at < len(target) && target[at] != '/' && target[at] != '\\' {
			c := target[at]
			at++
			if c == '%' && at+1 < len(target) {
				if v := hexByte(target[at], target[at+1]); v >= 0 && unreserved(byte(v)) {
					c, at = byte(v), at+2
				}
			}
			out = append(out, c)
		}
		switch string(out[segment+1:]) {
		case "", ".":
			out = out[:segment]
		case "..":
			out = out[:max(0, bytes.LastIndexByte(out[:segment], '/'))]
		}
	}
	if len(out) == 0 {
		out = append(out, '/')
	}
	return out
}

// plainPath tells that routingPath has nothing to do but for a slash at the end.
func plainPath(p []byte) bool {
	if len(p) == 0 || p[0] != '/' {
		return false
	}
	for i, c := range p {
		if c == '%' || c == '\\' || i > 0 && p[i-1] == '/' && (c == '/' || c == '.') {
			return false
		}
	}
	return true
}

func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func hexByte(a, b byte) int {
	x, y := hexDigit(a), hexDigit(b)
	if x < 0 || y < 0 {
		return -1
	}
	return x<<4 | y
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
