// Package ports keeps the TCP ports open that routes want. The router's table says which: a port is open if it is
// wanted, or there is a fault that says why not, and it is tried again.
package ports
