// Package presence tells the nodes of a cloud about each other, by keys under leases in the store's engine: which nodes
// are alive, what each of them observes, and which one leads.
//
// Each node has one lease. All that it says is under this lease, below "seen/NODE/", and goes with it: so nobody routes
// to the instances of a node that is gone. A node writes only its own keys, and only what differs; it reads all keys into
// the snapshot cell, where the router, the planner and the leader find them.
//
// The invariant is that a node knows that its lease is lost before anybody else does: it stops to lead, and ends what must
// not run twice (cloud.NodeStatus), after two thirds of the time in which it could not renew.
//
// An instance that must not run twice follows from these rules, each of which is needed (leader.TestFence):
//   - A node starts it only with a lease of the process that starts it. Its shim asks again at the moment of the start, because
//     the process may have stood still in between, and kills it before the lease may have ended, by the machine's own clock.
//   - A node that gets a lease says so in a transaction that also writes the store's head, reads the newest state after that,
//     and counts on the lease only then.
//   - Each change of places depends on the head, and whoever decides it knows all that was written before (Observed). So it
//     comes before the node's return, which then knows of it, or it knows of the return.
//   - When a lease has ended, what must not run twice stays where it is for as long as its shims may take to kill it, because an
//     etcd that led and stood still may end all leases too early (buried). A node that leaves says so, and nobody waits.
//   - A node that has lost its lease does not give its own places away: for the others the lease lasts longer.
package presence
