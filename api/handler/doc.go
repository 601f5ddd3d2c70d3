// Package handler serves the API of package api over HTTP. It says who asks (the kernel's word on a unix
// socket), whether their role allows it (one table), decodes the request, calls what carries it out, and
// encodes the answer or stream.
//
// The invariant: a write is one Store.Update of a pure function of package cloud, or one call of an
// interface that a part of the node implements; the handler decides nothing. Nothing that a client does or
// leaves undone keeps a goroutine or a container alive beyond its request, command or stream. So another
// protocol can be put beside HTTP without moving a rule.
package handler
