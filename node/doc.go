// Package node wires the parts of micro together. It is the only package that knows all of them, and does nothing
// else.
//
// New acquires exclusive resources (the data folder, addresses), and fails before any part is started. Run starts
// the parts in the order of their dependencies, and stops them one by one in reverse order. Containers are not
// stopped: they outlive the process.
//
// The parts don't know each other. They share the snapshot cell (cloud.Cell): the store puts the state there, the
// agent puts the observed instances there, and the router's table and the DNS zone are compiled from it.
//
// Programs of a single node are in packages below this one. addresses, datadir, volumes and disk manage its
// resources; events, figures, metrics, accesslog, doctor and trace inform users; janitor, memory, systemd and proc
// deal with the machine. Duties that only one node of a cloud may have are in package leader.
package node
