package h1

// Name identifies the field names that a gateway has to treat apart.
type Name uint8

// The names; Other is everything else.
const (
	Other Name = iota
	Host
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Upgrade
	HTTP2Settings
	TransferEncoding
	ContentLength
	Expect
	Date
	Accept
	Cookie
	Origin
	Via
	Forwarded
	XForwardedFor
	XForwardedProto
	XForwardedHost
	XForwarded // any other X-Forwarded-…, and X-Real-IP
	XRequestID
	XRequestStart
	Traceparent
	XMicroRelease
	XMicroInstance
	XMicroError
	XMicroMirror
	XAuthenticatedUser
)

// hop has the names that concern one connection alone (RFC 9110, section 7.6.1).
const hop = 1<<Connection | 1<<KeepAlive | 1<<ProxyConnection | 1<<ProxyAuthenticate | 1<<ProxyAuthorization |
	1<<TE | 1<<Upgrade | 1<<HTTP2Settings | 1<<TransferEncoding

// Hop tells that a field of this name concerns one connection alone and is never forwarded.
func (n Name) Hop() bool { return hop>>n&1 != 0 }

// NameOf identifies a field name, without regard to case.
func NameOf(b []byte) Name {
	if n := known(b); n != Other {
		return n
	}
	const prefix = "x-forwarded-"
	if len(b) > len(prefix) && b[0]|0x20 == 'x' && EqualFold(b[:len(prefix)], prefix) {
		return XForwarded
	}
	return Other
}

// known identifies the names that are known as a whole.
func known(b []byte) Name {
	switch len(b) {
	case 2:
		return either(b, "te", TE)
	case 3:
		return either(b, "via", Via)
	case 4:
		switch b[0] | 0x20 {
		case 'h':
			return either(b, "host", Host)
		case 'd':
			return either(b, "date", Date)
		}
	case 5:
		// No standard field: CGI makes HTTP_PROXY of it, by which programs choose their way out.
		return either(b, "proxy", ProxyConnection)
	case 6:
		switch b[0] | 0x20 {
		case 'a':
			return either(b, "accept", Accept)
		case 'c':
			return either(b, "cookie", Cookie)
		case 'e':
			return either(b, "expect", Expect)
		case 'o':
			return either(b, "origin", Origin)
		}
	case 7:
		return either(b, "upgrade", Upgrade)
	case 9:
		switch b[0] | 0x20 {
		case 'f':
			return either(b, "forwarded", Forwarded)
		case 'x':
			return either(b, "x-real-ip", XForwarded)
		}
	case 10:
		switch b[0] | 0x20 {
		case 'c':
			return either(b, "connection", Connection)
		case 'k':
			return either(b, "keep-alive", KeepAlive)
		}
	case 11:
		switch b[0] | 0x20 {
		case 't':
			return either(b, "traceparent", Traceparent)
		}
	case 12:
		return either(b, "x-request-id", XRequestID)
	case 13:
		return either(b, "x-micro-error", XMicroError)
	case 14:
		switch b[0] | 0x20 {
		case 'c':
			return either(b, "content-length", ContentLength)
		case 'h':
			return either(b, "http2-settings", HTTP2Settings)
		case 'x':
			return either(b, "x-micro-mirror", XMicroMirror)
		}
	case 15:
		switch b[2] | 0x20 {
		case 'f':
			return either(b, "x-forwarded-for", XForwardedFor)
		case 'r':
			return either(b, "x-request-start", XRequestStart)
		case 'm':
			return either(b, "x-micro-release", XMicroRelease)
		}
	case 16:
		switch b[0] | 0x20 {
		case 'x':
			switch {
			case EqualFold(b, "x-forwarded-host"):
				return XForwardedHost
			case EqualFold(b, "x-micro-instance"):
				return XMicroInstance
			}
		case 'p':
			return either(b, "proxy-connection", ProxyConnection)
		}
	case 17:
		switch b[0] | 0x20 {
		case 't':
			return either(b, "transfer-encoding", TransferEncoding)
		case 'x':
			return either(b, "x-forwarded-proto", XForwardedProto)
		}
	case 18:
		return either(b, "proxy-authenticate", ProxyAuthenticate)
	case 19:
		return either(b, "proxy-authorization", ProxyAuthorization)
	case 20:
		return either(b, "x-authenticated-user", XAuthenticatedUser)
	}
	return Other
}

func either(b []byte, s string, n Name) Name {
	if EqualFold(b, s) {
		return n
	}
	return Other
}
