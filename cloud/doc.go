// Package cloud holds the words of micro: what a cloud should be like (State and the objects in it),
// what was seen of it (Instances), who may change it and how, and how that goes wrong (Error).
//
// A State is immutable and belongs to a revision. Whatever changes one is a pure function from a State
// to a list of Changes (Push, Promote, Scale, Map …), so that the store can run it again after a
// conflict and a test needs no more than a State. All else in micro is I/O around such functions: the
// router's table, the DNS zone and the runner's plan are compiled from a View, which pairs a State with
// the Instances observed at that time.
//
// Package cloud imports nothing of micro's own.
package cloud
