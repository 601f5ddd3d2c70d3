package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// errStop means that the caller wants no more lines.
var errStop = errors.New("stopped by the caller")

// reader reads the audit log in order.
type reader struct {
	store *Store
	n     uint64 // number of the last line read
	hash  string // of that line; "" if it was not read
}

func (r *reader) read(ctx context.Context, follow bool, yield func(Line) bool) error {
	for {
		end, changed := r.store.currentHead()
		for r.n < end.Lines {
			if err := r.readBlock(ctx, end, yield); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// readBlock reads the next lines, at most to the last line of the head, which must have the head's hash.
func (r *reader) readBlock(ctx context.Context, end head, yield func(Line) bool) error {
	if now, _ := r.store.currentHead(); r.n < now.Trimmed {
		r.n, r.hash = now.Trimmed, ""
		return nil
	}
	pairs, _, err := r.store.engine.List(ctx, blockKey(r.n+1))
	if err != nil {
		return err
	}
	before := r.n
	for _, p := range pairs {
		if err = r.readLine(p, end, yield); err != nil {
			break
		}
	}
	if err == nil && r.n == before {
		err = chainError(r.n + 1)
	}
	if now, _ := r.store.currentHead(); r.n < now.Trimmed && !errors.Is(err, errStop) {
		return nil // the block was trimmed while it was read
	}
	return err
}

// readLine checks and yields one line, unless it is before or after the lines to read.
func (r *reader) readLine(p kv.Pair, end head, yield func(Line) bool) error {
	var l Line
	if err := json.Unmarshal(p.Value, &l); err != nil || lineKey(l.N) != p.Key {
		return chainError(r.n + 1)
	}
	if l.N <= r.n || l.N > end.Lines {
		return nil
	}
	hash := hashOf(p.Value)
	if l.N != r.n+1 || r.hash != "" && l.Prev != r.hash || l.N == end.Lines && hash != end.Hash {
		return chainError(r.n + 1)
	}
	r.n, r.hash = l.N, hash
	if !yield(l) {
		return errStop
	}
	return nil
}

func chainError(n uint64) error {
	return cloud.Errorf(cloud.Internal, "line %d of the audit log is missing or was changed", n)
}
