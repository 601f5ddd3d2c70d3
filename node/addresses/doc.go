// Package addresses binds the addresses that a node answers requests on, and knows what follows from them: who is
// near enough to use internal names, under which address each client finds the router, and which URL opens a host.
package addresses
