// Package router is the reverse proxy: it leads every request to an instance of the release that its
// address stands for, and never loses one because something else changed.
//
// A Table says where every host and path leads. It is immutable, compiled from a cloud.View and swapped
// by one atomic pointer, which a request loads once. What outlives a table are the Endpoints, one an
// instance: requests in flight, idle connections, failures.
//
// A request goes: strict head (package h1), exact host, wildcard, longest path, weighted release, the
// less loaded of two instances (on this node first), claim, proxy. The claim counts the request in before anything of it is
// sent, so that Drain can't miss it. It is sent elsewhere only if nothing was sent before, or if it is
// idempotent, was sent whole and no byte of an answer has come: a POST is never sent twice.
//
// Where no instance is ready the answer is 503 at once. A switch of releases never empties a pool, so that
// a held request would only hide an outage, and fill the node with waiting connections during one. Routes
// of apps whose releases can't overlap may ask for it all the same: then requests wait in a lot, one queue
// a host, of which the first alone tries.
//
// HTTP/2 is joined to this by package h2: a stream is a connection of HTTP/1.1 within the process, both
// towards clients and towards apps.
//
// A connection is one goroutine, which holds no buffer while it waits. Time limits are looked after by
// one watch over all connections instead of timers, and a request costs no allocation.
package router
