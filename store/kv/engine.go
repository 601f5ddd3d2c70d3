package kv

import (
	"context"
	"errors"
	"iter"
	"time"
)

var (
	// ErrNoLease means that a lease has ended or never existed. Nothing was changed.
	ErrNoLease = errors.New("the lease has ended")
	// ErrUnknown means that it is not known yet whether a transaction was committed. The engine finds out.
	ErrUnknown = errors.New("it is not known yet whether the change was made")
	// ErrConflict means that a condition of a transaction did not hold. Nothing was changed.
	ErrConflict = errors.New("the store has changed in the meantime")
	// ErrCompacted means that the changes since a revision are not available. Read everything again.
	ErrCompacted = errors.New("the changes since that revision are no longer kept")
	// ErrClosed means that the engine was closed.
	ErrClosed = errors.New("the store is closed")
)

// Engine stores keys and values. It is safe for concurrent use.
//
// Its promises:
//   - A transaction is committed completely or not at all. Its revision is greater than all earlier ones.
//   - Readers see only durable changes, which a crash can no longer undo.
//   - After an error other than ErrUnknown the transaction was not committed and never will be, unless the
//     process dies before the engine could ensure that. It is never committed partly.
//   - If the answer to a transaction is lost (the server ended, a majority is unreachable), the engine finds
//     out itself whether it was committed. Until then it refuses other transactions with Unavailable, so
//     that no change depends on an unknown one. If the caller's ctx ends before, the caller gets ErrUnknown,
//     which is not a failure: if the transaction was committed, Watch will report it.
//   - Revisions can be compared only within one epoch.
//
// A failure that may pass (a full disk, an I/O error, a lost majority) is a *cloud.Error of code
// Unavailable: the engine goes on, and a later call may succeed.
type Engine interface {
	Leases

	// Epoch identifies the history that revisions belong to. A store starts a new epoch when it is created,
	// moved to another engine, or restored from a backup.
	Epoch() string

	// Get returns the pair of a key. Its Rev is 0 if the key does not exist.
	Get(ctx context.Context, key string) (Pair, error)

	// List returns all pairs whose keys start with prefix, sorted by key, as of one revision. It also returns
	// that revision: a Watch from there misses no change.
	List(ctx context.Context, prefix string) ([]Pair, int64, error)

	// Commit commits a transaction if all its conditions hold, and returns its revision when it is durable.
	// Otherwise it returns ErrConflict, or ErrNoLease if the transaction puts a key under an ended lease. If
	// the transaction changes nothing (it only deletes missing keys), Commit returns the current revision.
	Commit(ctx context.Context, t Txn) (int64, error)

	// Watch yields one batch for each transaction after revision since that changes keys with the prefix,
	// exactly once and in order, and then waits for more. It ends when ctx ends, or with an error: ErrClosed,
	// or ErrCompacted if since is too old or in the future.
	Watch(ctx context.Context, prefix string, since int64) iter.Seq2[Batch, error]

	// Compact allows the engine to delete the history up to and including revision rev; the pairs stay.
	Compact(ctx context.Context, rev int64) error

	// Close ends all watches and waits for running transactions.
	Close() error
}

// Pair is a key with its value and the revision that last wrote it. The value must not be changed.
type Pair struct {
	Key   string
	Value []byte
	Rev   int64
}

// Batch is the changes of one transaction.
type Batch struct {
	Rev     int64
	Changes []Change
}

// Change is a key's new value; nil if the key was deleted.
type Change struct {
	Key   string
	Value []byte
}

// LeaseID identifies a lease; 0 is no lease.
type LeaseID int64

// Leases deletes keys when their writer is gone: which node is alive, which node leads, what a node observes. A
// key that is put under a lease (Put.Lease) is a normal key until the lease ends; then all keys of the lease
// are deleted in one transaction, which Watch reports. Putting the key again without the lease, or under
// another, removes it from the lease.
//
// A lease never outlives the store's process by more than its ttl. An engine in the same process as the
// lease holders ends all leases when it is opened again, because their holders have ended too.
type Leases interface {
	// Grant starts a lease that ends ttl after its last renewal or somewhat later, never before. ttl is at
	// least a second, and rounded up to seconds.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew extends a lease to its ttl from now on. It returns ErrNoLease if the lease has ended. A holder
	// that has not renewed for ttl must assume that the lease is lost.
	Renew(ctx context.Context, id LeaseID) error
	// Revoke ends a lease now. It returns ErrNoLease if the lease has already ended.
	Revoke(ctx context.Context, id LeaseID) error
}

// Local stores facts of one node in the node's own file: how often an instance crashed, how it last ended. No
// other node reads them, and they don't count in revisions.
type Local interface {
	// Get returns the value of a key, or nil if it does not exist.
	Get(key string) ([]byte, error)
	// List returns the pairs whose keys start with prefix, sorted by key. Their Rev is 0.
	List(prefix string) ([]Pair, error)
	// Put and Delete are atomic, and return when the change is durable.
	Put(pairs ...Pair) error
	Delete(keys ...string) error
}
