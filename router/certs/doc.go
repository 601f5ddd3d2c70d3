// Package certs has the certificates that the router answers TLS with.
//
// The names of the private domain and those under localhost get theirs from the cloud's own authority (Local),
// which is a cloud.Authority of the State: all nodes have the same one. It may vouch for these names and for no
// other: its certificate says so (X.509 name constraints), and clients refuse what is outside. Its key is sealed.
// The certificates that it issues last a week, are made in memory when a client first asks for a name, and are
// never stored.
//
// Public hosts have certificates of an authority that the world trusts: ordered by ACME, kept in the store's vault,
// sealed, and followed there by all nodes (Public); or files that somebody else looks after (Files). ACME carries out
// one order; when to order is the leader's to decide (leader.Certificates).
//
// Server is the TLS of the listeners. On an internal listener every name above has a certificate. On a public one
// only public hosts have: who asks for another name, or for none, is refused in the handshake, the same way
// whether the name exists inside or not.
package certs
