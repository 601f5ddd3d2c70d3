package router

import "github.com/protoduction/micro/router/h1"

// reuse is who may use an upstream connection after a request.
//
// If an app answers without reading the request's body, it takes the rest of the body for the next request on that
// connection. The client of the next request would get an answer that the author of the body chose (request smuggling). No
// answer proves that the app has read the body. So a connection that has carried a body never serves another client.
type reuse uint8

const (
	byAnyone   reuse = iota // there was no body
	byItsOwner              // the next requests with a body on the same client connection
	byNobody
)

// reusable returns who may use the upstream connection after the request.
//
// The same client may reuse it only after a body of known length, of a method that defines a body. Many servers ignore a body
// of GET or DELETE, some don't know chunked bodies, and some answer HEAD with a body. A client connection that may carry
// requests of several people must not reuse it either, such as one of a proxy, or of a browser that sends requests of other
// people's pages.
func (x *exchange) reusable() reuse {
	q := &x.req
	switch {
	case q.NoBody || q.Chunked:
		return byNobody
	case q.Length <= 0:
		return byAnyone
	}
	switch string(q.Method) {
	case "POST", "PUT", "PATCH":
	default:
		return byNobody
	}
	if x.c.trusted {
		return byNobody
	}
	fields := q.Fields()
	for i := range fields {
		switch fields[i].Name {
		case h1.Forwarded, h1.XForwarded, h1.XForwardedFor, h1.XForwardedHost, h1.XForwardedProto, h1.Via, h1.Origin:
			return byNobody
		}
	}
	return byItsOwner
}

// inDoubt reports whether the upstream may send a body with an answer that has none. Its bytes would be taken for the next
// answer on the connection (RFC 9112, section 9.2).
func inDoubt(s *h1.Response) bool { return s.Chunked || s.Length > 0 }
