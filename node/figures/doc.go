// Package figures shows people what the router counted: requests of releases and instances, and two releases of a
// route beside each other. It counts nothing itself, and reading it changes nothing.
package figures
