// Package trace finds out what would become of a request, without sending it: what its host's name leads to, and
// what the router has for it (micro explain).
package trace
