// Package h1 reads HTTP/1 heads and chunked bodies (RFC 9112) and nothing else: no connections, no
// policy, no allocation.
//
// Its promise is that no other reader can understand a message differently. What RFC 9112 leaves to
// the recipient's leniency is refused here: bare LF, obs-fold, spaces before a colon, Content-Length
// with Transfer-Encoding, a second Content-Length, any transfer coding but chunked, chunks that are
// not exactly what the grammar says. Whoever forwards a message writes its head anew from the parsed
// fields; no byte of framing is ever copied.
//
// The fuzz tests hold it against net/http: what both accept, they read the same.
package h1
