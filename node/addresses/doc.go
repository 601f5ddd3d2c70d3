// Package addresses binds the addresses of a node's router. From them it computes which clients may use internal
// names, at which address each client reaches the router, and which URL opens a host.
package addresses
