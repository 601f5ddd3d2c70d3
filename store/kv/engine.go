package kv

import (
	"context"
	"errors"
	"iter"
	"time"
)

var (
	// ErrNoLease says that a lease has ended, or never was. Nothing was changed.
	ErrNoLease = errors.New("the lease has ended")
	// ErrUnknown says that it is not known yet whether a transaction happens. The engine finds out.
	ErrUnknown = errors.New("it is not known yet whether the change was made")
	// ErrConflict says that a condition of a transaction did not hold. Nothing was changed.
	ErrConflict = errors.New("the store has changed in the meantime")
	// ErrCompacted says that the changes since a revision are not known (any more). Read all anew.
	ErrCompacted = errors.New("the changes since that revision are no longer kept")
	// ErrClosed says that the engine was closed.
	ErrClosed = errors.New("the store is closed")
)

// Engine keeps keys and values. All its methods may be called from several goroutines at once.
//
// Its promises:
//   - A transaction happens wholly or not at all, and its revision is greater than all before.
//   - Whoever reads sees only what is durable: what a crash can no longer take back.
//   - After an error other than ErrUnknown the transaction has not happened and never will, unless the
//     process dies before the engine could make sure of that. Half of it never happens.
//   - An engine that lost the answer to a transaction (its server ended, a majority is out of reach) finds
//     out itself. Until it knows it takes no other transaction (they are Unavailable), so that nobody
//     builds on what may be there. Where that outlasts the caller's ctx the caller gets ErrUnknown, and
//     must not take it for a failure: if the transaction happened, Watch brings it.
//   - Revisions are compared only within one epoch.
//
// A failure that may pass (a full disk, an I/O error, a lost majority) is a *cloud.Error of code
// Unavailable: the engine goes on, and a later call may succeed.
type Engine interface {
	Leases

	// Epoch names the life of the store that its revisions belong to. A store that is made, moved to
	// another engine, or restored from a backup starts another.
	Epoch() string

	// Get returns the pair of a key; its Rev is 0 where there is none.
	Get(ctx context.Context, key string) (Pair, error)

	// List returns all pairs whose keys start with prefix, by key, as they were at one revision, and
	// that revision: a Watch from it misses nothing.
	List(ctx context.Context, prefix string) ([]Pair, int64, error)

	// Commit carries out a transaction if all its conditions hold, and returns its revision once it is
	// durable; else ErrConflict, or ErrNoLease where it puts a key under a lease that has ended. One that changes nothing (it deletes what is not there) returns the
	// current revision.
	Commit(ctx context.Context, t Txn) (int64, error)

	// Watch yields the changes of keys that start with prefix, of every transaction after revision
	// since, once each and in order, one batch a transaction, and then waits for more. It ends when ctx
	// does, or with an error: ErrCompacted where since is too long ago, or not yet; ErrClosed.
	Watch(ctx context.Context, prefix string, since int64) iter.Seq2[Batch, error]

	// Compact lets the engine forget the changes up to and including revision rev; the pairs stay.
	Compact(ctx context.Context, rev int64) error

	// Close ends all watches and waits for what is under way.
	Close() error
}

// Pair is a key with its value and the revision that last wrote it. The value must not be changed.
type Pair struct {
	Key   string
	Value []byte
	Rev   int64
}

// Batch is what one transaction changed.
type Batch struct {
	Rev     int64
	Changes []Change
}

// Change is a key's new value, nil where the key was deleted.
type Change struct {
	Key   string
	Value []byte
}

// LeaseID names a lease; 0 is none.
type LeaseID int64

// Leases keep keys that go when whoever wrote them is gone: which node is alive, which one leads, what it
// observes. A key that is put under a lease (Put.Lease) is like any other, until the lease ends; then all
// keys under it are deleted in one transaction, which Watch brings. A key that is put anew without the
// lease, or under another, leaves it.
//
// A lease never outlives the store's process by more than its ttl. An engine that lives in the process of
// whoever holds its leases ends them when it is opened anew: their holder has ended too.
type Leases interface {
	// Grant begins a lease that ends ttl after it was last renewed, or somewhat later: never before. ttl is
	// a second at least, and rounded up to seconds.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// Renew lets a lease live for its ttl from now on; ErrNoLease where it has ended. A holder whose Renew
	// did not succeed within ttl has to take the lease for lost.
	Renew(ctx context.Context, id LeaseID) error
	// Revoke ends a lease now; ErrNoLease where it has ended.
	Revoke(ctx context.Context, id LeaseID) error
}

// Local keeps facts of one node, which no other reads and no revision counts, in the node's own file:
// how often an instance crashed, how it last ended.
type Local interface {
	// Get returns the value of a key, nil where there is none.
	Get(key string) ([]byte, error)
	// List returns the pairs whose keys start with prefix, by key. Their Rev is 0.
	List(prefix string) ([]Pair, error)
	// Put and Delete return once the change is durable, and change all or nothing.
	Put(pairs ...Pair) error
	Delete(keys ...string) error
}
