// Package h3 joins HTTP/3 to the router's one core, which speaks HTTP/1.1.
//
// A Listener accepts connections by QUIC on a UDP socket. A Conn serves one: each request becomes a Stream, which the core
// sees as a connection of HTTP/1.1 whose head it gets whole. So a request meets the same look-up, refusals, limits, claims
// and records as any other, as package h2 does it for HTTP/2.
//
// QUIC, frames and field compression are those of github.com/quic-go/quic-go, which only this package may import. It
// validates the fields of a request; the core's parser checks the head again, as strictly as any other. There is no 0-RTT,
// because early data can be replayed. What a client can make the router do is bounded by windows, by the number of streams
// and of requests under way, and by a budget for requests that it gives up (see Conn). Addresses of clients are checked
// first (Retry) while many handshakes are under way. A WebSocket has a stream of its own (RFC 9220), which the core sees as
// an upgraded connection.
package h3
