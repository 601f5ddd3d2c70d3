// Package presence tells the nodes of a cloud about each other, by keys under leases in the store's engine: which nodes
// are alive, what each of them observes, and which one leads.
//
// Each node has one lease. All that it says is under this lease, below "seen/NODE/", and goes with it: so nobody routes
// to the instances of a node that is gone. A node writes only its own keys, and only what differs; it reads all keys into
// the snapshot cell, where the router, the planner and the leader find them.
//
// The invariant is that a node knows that its lease is lost before anybody else does: it stops to lead, and ends what must
// not run twice (cloud.NodeStatus), after two thirds of the time in which it could not renew.
package presence
