package store

import (
	"encoding/json"
	"maps"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Requests that wait together share a transaction up to half of what any engine takes. A request that needs
// more in itself has one alone.
const (
	batchOps   = kv.UsualOps / 2
	batchBytes = kv.MaxBytes / 2
	// trimLines is how many old audit lines a transaction drops at most: with the head and a batch that is
	// still what any engine takes.
	trimLines = kv.UsualOps / 2
)

// batch is a transaction in the making.
type batch struct {
	requests []*request
	head     head  // as it will be
	headRev  int64 // the engine's revision of the head before
	changes  []cloud.Change
	values   map[string][]byte // by the engine's key, nil to delete: what changes leads to
	lines    []kv.Put
	size     int
}

// batch runs the requests' functions, each on the state that the one before would leave. It takes as
// many, from the first, as go into one transaction.
func (s *Store) batch(waiting []*request) *batch {
	s.mu.Lock()
	state := s.state
	d := &batch{head: s.head, headRev: s.headRev, values: map[string][]byte{}}
	s.mu.Unlock()
	next, now := state.Rev()+1, s.cfg.Now().UTC()
	for _, r := range waiting {
		var changes []cloud.Change
		changes, r.err = r.run(state)
		values, size, err := encode(changes)
		if len(d.requests) > 0 && (d.size+size > batchBytes || len(d.values)+len(d.lines)+len(values) > batchOps) {
			break
		}
		d.requests = append(d.requests, r)
		if r.err == nil {
			r.err = err
		}
		if r.err != nil || r.panicked != nil || r.fn != nil && len(changes) == 0 {
			continue
		}
		rev := cloud.Revision(0)
		if len(changes) > 0 {
			state, rev, d.head.Rev = state.Apply(next, changes), next, next
		}
		d.size += size
		d.changes = append(d.changes, changes...)
		maps.Copy(d.values, values)
		for _, line := range r.lines {
			if line.Rev = rev; line.Time.IsZero() {
				line.Time = now
			}
			d.add(line)
		}
	}
	d.trim(uint64(s.cfg.AuditLines))
	return d
}

// trim drops the oldest audit lines beyond those to keep, several at a time. A transaction that is full by
// itself leaves that to a later one.
func (d *batch) trim(keep uint64) {
	if d.head.Lines < d.head.Trimmed+keep+trimLines || len(d.values)+len(d.lines) > batchOps {
		return
	}
	written := d.head.Lines - uint64(len(d.lines)) // before this transaction
	for range min(trimLines, written-d.head.Trimmed) {
		d.head.Trimmed++
		d.values[lineKey(d.head.Trimmed)] = nil
	}
}

func encode(changes []cloud.Change) (values map[string][]byte, size int, err error) {
	values = make(map[string][]byte, len(changes))
	for _, c := range changes {
		value, err := c.Encode()
		if err != nil {
			return nil, 0, cloud.Errorf(cloud.Internal, "encode %q: %w", c.Key, err)
		}
		values[objectPrefix+string(c.Key)] = value
		size += len(objectPrefix) + len(c.Key) + len(value)
	}
	return values, size, nil
}

// add appends a line to the audit log.
func (d *batch) add(line Line) {
	line.N, line.Prev = d.head.Lines+1, d.head.Hash
	value := line.encode()
	d.head.Lines, d.head.Hash = line.N, hashOf(value)
	d.lines = append(d.lines, kv.Put{Key: lineKey(line.N), Value: value})
	d.size += len(value)
}

func (d *batch) txn() (kv.Txn, error) {
	h, err := json.Marshal(d.head)
	if err != nil {
		return kv.Txn{}, err
	}
	txn := kv.Txn{
		If:  []kv.Cond{kv.Unchanged(headKey, d.headRev)},
		Put: append(d.lines, kv.Put{Key: headKey, Value: h}),
	}
	for key, value := range d.values {
		if value == nil {
			txn.Del = append(txn.Del, key)
			continue
		}
		txn.Put = append(txn.Put, kv.Put{Key: key, Value: value})
	}
	return txn, nil
}
