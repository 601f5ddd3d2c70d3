package router

import "github.com/protoduction/micro/router/h1"

// reuse says who may use an upstream connection after a request.
//
// An app that answers without reading the request's body takes the rest of it for the next request on that
// connection, and whoever sends that one gets an answer that the body's author chose (request smuggling). No
// answer proves that the body was read. So a connection that has carried a body never serves another client.
type reuse uint8

const (
	byAnyone   reuse = iota // there was no body
	byItsOwner              // the next requests with a body on the same client connection
	byNobody
)

// reusable returns who may use the upstream connection after the request.
//
// Only bodies of a known length of methods that define one leave it to the client that sent them. A body of GET
// or DELETE is ignored by many servers, a chunked one by those that don't know chunks, and a HEAD is answered
// with a body by some. And a client connection may carry requests of several people, each of whom would meet
// the bodies of the others: one from a proxy does, and one from a browser sends what other people's pages ask for.
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

// inDoubt tells that the upstream may believe that its answer has a body where the answer has none: the bytes
// would be taken for the next answer on the connection (RFC 9112, section 9.2).
func inDoubt(s *h1.Response) bool { return s.Chunked || s.Length > 0 }
