// Package store is the durable truth: what is desired of a cloud, and who asked for it.
//
// It owns the keys below "cloud/" and "audit/" of a kv.Engine. Its invariant: the State it shows is what
// is durable at a revision, and every change of it has a line in the audit log, written by the same
// transaction: no line, no change.
//
// One key, "cloud/rev", holds the revision, the number of audit lines and the hash of the last one.
// Every transaction compares and sets it. So all writers are in one order whatever the engine, the
// State's revision counts desired changes alone (an engine's counts more), and the log is a chain: each
// line has the hash of the one before, without a second write. Changes that wait while a transaction is
// under way go into the next one together: they share its revision and its sync, and have a line each.
//
// Objects are JSON, as package cloud encodes them. A version number over all of them (schema.go) stands
// in for keeping fields that are not known: a micro that is older than the store refuses it. A new kind of
// object needs no new version: a micro that does not know it keeps it as it is and passes it over.
//
// Secrets are sealed before they reach the store (package seal, cloud.Sealed), so that neither backup, log
// nor watch ever has them in clear.
package store
