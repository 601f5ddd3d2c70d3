// Package trace finds out where a request would go, without sending it: what its host name resolves to, and which
// route and instances the router has for it (micro explain).
package trace
