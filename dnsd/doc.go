// Package dnsd is the node's DNS server: authority for the private domain, for ".internal" between
// containers and for "localhost", and a small forwarding resolver for those who are local.
//
// Its core is pure. Compile makes an immutable Zone of the cloud's state, sharing all that did not
// change with the zone before; Zone.Answer turns one parsed query and the view of the client that sent
// it into the bytes of the answer. Only Server does I/O: it loads the current zone by one atomic
// pointer, once a query.
//
// Invariants:
//   - A zone compiled step by step answers exactly as one compiled from nothing.
//   - A client outside the networks that the node was given gets REFUSED, whatever it asks.
//   - A container sees the ".internal" names of its own group alone.
//   - Names of our own zones are answered without waiting for anyone: an upstream that is dead or slow
//     touches only the names that are asked of it.
//
// Plain queries are read and answered by hand, without allocation, because the bar is the CPU that a
// query costs Knot; miekg/dns reads and writes what passes through the forwarder, and is the yardstick
// that the parser is fuzzed against.
package dnsd
