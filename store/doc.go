// Package store keeps the desired state of a cloud durably, with an audit log of who changed it.
//
// It owns the keys below "cloud/" and "audit/" of a kv.Engine. Its invariants: State returns only durable
// state, and each change of the state has a line in the audit log, written in the same transaction.
//
// One key, "cloud/rev", holds the revision, the number of audit lines and the hash of the last line. Every
// transaction compares and sets it. So all writers are in one order with any engine, and the State's
// revision counts only changes of the desired state (an engine's revision counts all transactions). The
// audit log is a chain: each line has the hash of the previous line, which needs no second write. Changes
// that arrive during a transaction share the next one: they share its revision and its sync, and have a
// line each.
//
// Objects are JSON, as package cloud encodes them. One version number covers all of them (schema.go): a micro that does not
// read the store's version refuses to open it, because it would misread objects. New kinds of objects and new members of
// known kinds need no new version: a micro that does not know them keeps them, also when it changes the object, and ignores
// them. So nodes of two versions work on one store, and the version before can be started again.
//
// Secrets are sealed before they reach the store (package seal, cloud.Sealed), so that no backup, log or
// watch contains them in clear text.
package store
