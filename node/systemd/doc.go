// Package systemd is all that a node has to do with the service manager that may have started it: it takes over
// sockets, leaves them with systemd over a restart, says when it is ready, and pings the watchdog.
//
// Where systemd did not start the node all of this does nothing, or binds addresses as anybody does.
package systemd
