// Package router is the reverse proxy. It sends every request to an instance of the release that its address stands for,
// and loses no request when a route, a release or an instance changes.
//
// A Table maps hosts and paths to releases. It is immutable, compiled from a cloud.View and swapped by one atomic pointer,
// which a request loads once. Endpoints outlive tables, one per instance: they have its requests in flight, idle
// connections and failures.
//
// A request goes: strict head (package h1), exact host, wildcard, longest path, weighted release, the
// less loaded of two instances (on this node first), claim, proxy. The claim counts the request at the instance before
// anything is sent, so that Drain can't miss it. A request is sent to another instance only if nothing was sent before, or
// if it is idempotent, was sent completely, and no byte of an answer has arrived. A POST is never sent twice.
//
// If no instance is ready, the answer is 503 at once. A switch of releases never empties a pool, so waiting would only hide
// an outage and fill the node with connections. Routes of apps whose releases must not overlap may hold requests: these
// wait in a lot, which is one queue per host, and only the first request of a queue tries to find an instance.
//
// Package h2 adds HTTP/2: the core sees a client's stream as a connection whose head it gets whole, and an app of HTTP/2 as a
// connection of HTTP/1.1 within the process.
//
// Each connection has one goroutine, which holds no buffer while it waits. One watch checks the time limits of all
// connections, without timers. A request costs no allocation.
package router
