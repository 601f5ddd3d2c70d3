// Package handler serves the API of package api over HTTP: who asks (the kernel's word on a unix
// socket), whether their role allows it (one table), the reads and writes of a cloud.State, streams, and
// the life of a push from an uploaded folder to a release that answers.
//
// The invariant: a write is one Store.Update of a pure function of package cloud, so whatever is killed,
// it happened wholly or not at all; and nothing a client does or leaves undone keeps a file, a container
// or a goroutine alive beyond its push, exec or stream.
package handler
