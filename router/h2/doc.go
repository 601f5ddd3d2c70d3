// Package h2 joins HTTP/2 to the router's one core, which speaks HTTP/1.1.
//
// A Conn serves a client's connection. It turns the fields of each stream into the head of a request in HTTP/1.1, which
// the core parses once, as strictly as any other, and it turns the core's answer into frames as the core writes it. The
// core sees a Stream as a connection. So a stream meets the same look-up, refusals, limits, claims and records as any
// other request, and the core knows of no second protocol. Between the two is no pipe and no goroutine: the goroutine
// that runs an exchange also puts the answer's frames into the connection's output, and whoever comes first sends what
// all streams have put there, with one call.
//
// One mutex guards a connection: its streams, windows, field compression and output. One goroutine reads frames; a
// stream's goroutine is kept for the next stream.
//
// An Upstream goes the other way, for apps that speak HTTP/2 in cleartext with prior knowledge (h2c), such as gRPC
// servers: it is dialled like an app of HTTP/1.1.
//
// Frames are read, and fields compressed, by golang.org/x/net/http2, which only this package may import. Bodies and
// trailers pass as they come, both ways at the same time; a stream that is cancelled on one side is cancelled on the
// other. What a client can make the router do is bounded by windows, by the number of streams, and by a budget for
// frames that carry no work (see budget).
package h2
