// Package h2 joins HTTP/2 to the router's one core, which speaks HTTP/1.1.
//
// A Conn serves a client's connection: each of its streams becomes a request over a connection of its own to the
// core, within this process (net.Pipe). So a stream meets the same look-up, refusals, limits, claims and records as any
// other request, and the core knows of no second protocol. An Upstream goes the other way, for apps that speak
// HTTP/2 in cleartext with prior knowledge (h2c), such as gRPC servers: it is dialled like an app of HTTP/1.1.
//
// Frames, flow control, header compression and the limits against floods are those of golang.org/x/net/http2, which
// only this package may import. Bodies and trailers pass as they come, both ways at the same time; a stream that is
// cancelled on one side is cancelled on the other.
package h2
