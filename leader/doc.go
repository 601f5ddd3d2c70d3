// Package leader does what only one node of a cloud may do at a time: it gives instances their places on nodes
// (Assign), moves roll-outs (Advance) and cross-fades on, begins the jobs of apps, gives up releases that nobody goes back to, and copies the store.
//
// Each of these is a duty: a loop that reads the latest view, decides by a pure function, and writes the
// decision to the state. A duty owns no truth. What it must know after its process has died lies in the state
// or in its notes (Notes), so that the next process, or the next node, goes on where it ended; and whatever
// it writes it compares first with what it decided from, so that two leaders can't both take one step.
//
// It sees no part of a node. What it needs of them it declares here, in interfaces of one to three methods,
// and node makes the parts fit.
package leader
