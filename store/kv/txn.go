package kv

import "github.com/protoduction/micro/cloud"

const (
	// MaxOps is how many keys a transaction may change, and how many conditions it may have. The etcd engine
	// adds one of each. etcd's default is 128: an embedded etcd is started with MaxTxnOps = 4096, and an
	// external one needs --max-txn-ops 4096.
	MaxOps = 4095
	// DefaultOps fits etcd's default limit. Work that can be split stays within it: requests that share a
	// transaction, a migration, deleting old releases. Only a single verb that changes more, such as deleting
	// an app with a hundred hosts, exceeds it.
	DefaultOps = 127
)

// MaxBytes limits the keys and values of one transaction: etcd accepts no more in one request.
const MaxBytes = 1 << 20

// Txn changes keys if all its conditions hold. Each key is put or deleted once.
type Txn struct {
	If  []Cond
	Put []Put
	Del []string
}

// Put sets the value of a key. The value is not nil, but may be empty.
type Put struct {
	Key   string
	Value []byte
	Lease LeaseID // the lease that the key is under; 0 for none
}

// Cond is a condition on a key; make one with Absent, Present or Unchanged.
type Cond struct {
	Key string
	// Rev is the revision that last wrote the key, 0 for an absent key, anyRev for any present one.
	Rev int64
}

const anyRev = -1

// Absent holds if the key does not exist.
func Absent(key string) Cond { return Cond{key, 0} }

// Present holds if the key exists.
func Present(key string) Cond { return Cond{key, anyRev} }

// Unchanged holds if revision rev was the last to write the key; for rev 0, if the key does not exist.
func Unchanged(key string, rev int64) Cond { return Cond{key, rev} }

// Holds reports whether a key that was last written at rev meets the condition; rev is 0 for a missing key.
func (c Cond) Holds(rev int64) bool {
	if c.Rev == anyRev {
		return rev != 0
	}
	return c.Rev == rev
}

// AnyRev reports whether the condition holds for any existing key, whatever revision wrote it.
func (c Cond) AnyRev() bool { return c.Rev == anyRev }

// Validate returns an error if no engine would accept the transaction.
func (t Txn) Validate() error {
	if n := len(t.Put) + len(t.Del); n > MaxOps || len(t.If) > MaxOps {
		return cloud.Errorf(cloud.Invalid, "the transaction has %d changes and %d conditions, but the limit is %d of each", n, len(t.If), MaxOps)
	}
	seen := make(map[string]bool, len(t.Put)+len(t.Del))
	size := 0
	once := func(key string) error {
		if key == "" {
			return cloud.Errorf(cloud.Invalid, "the transaction changes an empty key")
		}
		if seen[key] {
			return cloud.Errorf(cloud.Invalid, "the transaction changes key %q twice", key)
		}
		seen[key] = true
		size += len(key)
		return nil
	}
	for _, p := range t.Put {
		if err := once(p.Key); err != nil {
			return err
		}
		size += len(p.Value)
	}
	for _, key := range t.Del {
		if err := once(key); err != nil {
			return err
		}
	}
	if size > MaxBytes {
		return cloud.Errorf(cloud.Invalid, "the transaction has %d bytes, but the limit is %d", size, MaxBytes)
	}
	return nil
}
