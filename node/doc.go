// Package node puts the parts of micro together: it is the one place that knows all of them, and does nothing else.
//
// New takes what a node may have to itself (its data folder, its addresses) and fails before anything
// is half started; Run starts the parts in an order in which each finds what it needs, and stops them
// the other way round, one at a time. Containers are none of that: they outlive the process.
//
// The parts know nothing of each other. They meet at the snapshot cell (cloud.Cell): the store puts the state
// there and the agent what it observes, and the router's table and the DNS zone are compiled from it.
//
// What a node does for itself alone has a package below this one: addresses, datadir, volumes and disk are what it
// has; events, figures, metrics, accesslog, doctor and trace are what it tells people; janitor, memory, systemd and
// proc are its dealings with the machine. What only one node of a cloud may do is in package leader.
package node
