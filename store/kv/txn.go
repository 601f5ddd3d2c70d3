package kv

import "github.com/protoduction/micro/cloud"

const (
	// MaxOps is how many keys a transaction may touch, and how many conditions it may have. An engine on etcd
	// adds one of each. etcd takes 128 unless it is told otherwise: the embedded one is started with
	// MaxTxnOps = 4096, and one that somebody else runs needs --max-txn-ops 4096.
	MaxOps = 4095
	// UsualOps is what any etcd takes. Whatever can be split without harm (what waits for one transaction
	// together, a migration, giving up old releases) keeps to it. Only a verb that touches more in itself,
	// such as deleting an app with a hundred hosts, goes beyond.
	UsualOps = 127
)

// MaxBytes bounds the keys and values of one transaction: etcd takes no more in one request.
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
	Lease LeaseID // that the key is under; 0: none
}

// Cond is a condition on a key; make one with Absent, Present or Unchanged.
type Cond struct {
	Key string
	// Rev is the revision that last wrote the key, 0 for an absent key, anyRev for any present one.
	Rev int64
}

const anyRev = -1

// Absent holds where the key is not there.
func Absent(key string) Cond { return Cond{key, 0} }

// Present holds where the key is there.
func Present(key string) Cond { return Cond{key, anyRev} }

// Unchanged holds where revision rev was the last to write the key (for 0: where there is none).
func Unchanged(key string, rev int64) Cond { return Cond{key, rev} }

// Holds tells whether a key that was last written at rev (0: is not there) meets the condition.
func (c Cond) Holds(rev int64) bool {
	if c.Rev == anyRev {
		return rev != 0
	}
	return c.Rev == rev
}

// AnyRev reports whether the condition holds for a key that is there, whatever revision wrote it.
func (c Cond) AnyRev() bool { return c.Rev == anyRev }

// Validate reports what no engine would take.
func (t Txn) Validate() error {
	if n := len(t.Put) + len(t.Del); n > MaxOps || len(t.If) > MaxOps {
		return cloud.Errorf(cloud.Invalid, "a transaction of %d changes and %d conditions; %d of each is the limit", n, len(t.If), MaxOps)
	}
	seen := make(map[string]bool, len(t.Put)+len(t.Del))
	size := 0
	once := func(key string) error {
		if key == "" {
			return cloud.Errorf(cloud.Invalid, "a transaction changes a key without a name")
		}
		if seen[key] {
			return cloud.Errorf(cloud.Invalid, "a transaction changes key %q twice", key)
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
		return cloud.Errorf(cloud.Invalid, "a transaction of %d bytes; %d is the limit", size, MaxBytes)
	}
	return nil
}
