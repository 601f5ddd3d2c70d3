package store

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// Waiting requests share a transaction up to half of an engine's default limits. A request that needs more
// has a transaction of its own.
const (
	batchOps   = kv.DefaultOps / 2
	batchBytes = kv.MaxBytes / 2
	// trimLines is how many old audit lines a transaction deletes at most. Together with the head and a full
	// batch, that stays within an engine's default limit.
	trimLines = kv.DefaultOps / 2
)

// batch is a transaction that is being built.
type batch struct {
	requests []*request
	head     head  // after the transaction
	headRev  int64 // the engine's revision of the previous head
	changes  []cloud.Change
	values   map[string][]byte // encoded changes by the engine's key; nil deletes the key
	lines    []kv.Put
	size     int
}

// newBatch runs the functions of waiting requests, each on the state that the previous one returned. It takes
// requests from the front of the queue, as many as fit into one transaction.
func (s *Store) newBatch(waiting []*request) *batch {
	s.mu.Lock()
	state := s.state
	d := &batch{head: s.head, headRev: s.headRev, values: map[string][]byte{}}
	s.mu.Unlock()
	next, now := state.Rev()+1, s.cfg.Now().UTC()
	for _, r := range waiting {
		var changes []cloud.Change
		changes, r.err = s.decide(r, state, d.headRev)
		changes, err := state.KeepNewer(changes)
		values, size := map[string][]byte(nil), 0
		if err == nil {
			values, size, err = s.encode(changes)
		}
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
			d.addLine(line)
		}
	}
	d.trim(uint64(s.cfg.AuditLines))
	return d
}

// decide runs a request's function. Places depend on more than the state: if the function gives or takes any, it runs again
// once Config.Observed knows all up to the head on which the transaction will depend.
func (s *Store) decide(r *request, state *cloud.State, headRev int64) ([]cloud.Change, error) {
	changes, err := r.run(state)
	if err != nil || s.cfg.Observed == nil || !slices.ContainsFunc(changes, cloud.Change.MovesInstances) {
		return changes, err
	}
	others, err := s.cfg.Observed(r.ctx, headRev)
	if err != nil || !others {
		return changes, err
	}
	return r.run(state)
}

// trim deletes the oldest audit lines beyond those to keep, many at a time. If the transaction is full, it
// leaves them to a later one.
func (d *batch) trim(keep uint64) {
	if d.head.Lines < d.head.Trimmed+keep+trimLines || len(d.values)+len(d.lines) > batchOps {
		return
	}
	written := d.head.Lines - uint64(len(d.lines)) // lines before this transaction
	for range min(trimLines, written-d.head.Trimmed) {
		d.head.Trimmed++
		d.values[lineKey(d.head.Trimmed)] = nil
	}
}

func (s *Store) encode(changes []cloud.Change) (values map[string][]byte, size int, err error) {
	values = make(map[string][]byte, len(changes))
	for _, c := range changes {
		value, err := c.Encode()
		if err != nil {
			return nil, 0, cloud.Errorf(cloud.Internal, "encode %q: %w", c.Key, err)
		}
		key := objectPrefix + string(c.Key)
		if value != nil {
			value = s.values.encrypt(key, value)
		}
		values[key] = value
		size += len(key) + len(value)
	}
	return values, size, nil
}

// addLine appends a line to the audit log.
func (d *batch) addLine(line Line) {
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
