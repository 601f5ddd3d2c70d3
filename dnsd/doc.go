// Package dnsd is the node's DNS server. It is the authority for the private domain, for ".internal" between
// containers and for "localhost", and a small forwarding resolver for local clients.
//
// Its core is pure. Compile makes an immutable Zone of the cloud's state; the new zone shares all that did
// not change with the previous one. Zone.Answer turns a parsed query and the client's view into the bytes
// of the answer. Only Server does I/O: it loads the current zone from one atomic pointer, once per query.
//
// Invariants:
//   - A zone compiled step by step answers exactly as one compiled from nothing.
//   - A client outside the node's configured networks gets REFUSED for every query.
//   - A container sees only the ".internal" names of its own group.
//   - Names of our own zones are answered without waiting for another server: a dead or slow upstream
//     affects only the names that are forwarded to it.
//
// Queries for our own zones are parsed and answered by hand, without allocation, because the goal is to use
// no more CPU per query than Knot. The forwarder uses miekg/dns, and the parser is fuzzed against it.
package dnsd
