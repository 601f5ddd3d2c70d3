// Package systemd talks to the service manager that may have started the node: it takes over sockets, stores them
// with systemd during a restart, reports when the node is ready, and pings the watchdog.
//
// If systemd did not start the node, the package does nothing, or binds addresses normally.
package systemd
