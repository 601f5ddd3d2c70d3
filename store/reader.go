package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

// errStop ends the reading of a caller that has had enough.
var errStop = errors.New("enough")

// reader reads the audit log in order.
type reader struct {
	store *Store
	n     uint64 // the last line read
	hash  string // its hash, "" where it was not read
}

func (r *reader) read(ctx context.Context, follow bool, yield func(Line) bool) error {
	for {
		end, changed := r.store.heads()
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

// readBlock reads on, at most to the line that a head names, which must have the head's hash.
func (r *reader) readBlock(ctx context.Context, end head, yield func(Line) bool) error {
	if now, _ := r.store.heads(); r.n < now.Trimmed {
		r.n, r.hash = now.Trimmed, ""
		return nil
	}
	pairs, _, err := r.store.engine.List(ctx, blockKey(r.n+1))
	if err != nil {
		return err
	}
	before := r.n
	for _, p := range pairs {
		if err = r.take(p, end, yield); err != nil {
			break
		}
	}
	if err == nil && r.n == before {
		err = broken(r.n + 1)
	}
	if now, _ := r.store.heads(); r.n < now.Trimmed && !errors.Is(err, errStop) {
		return nil // gone while it was being read
	}
	return err
}

// take reads one line, if it is one of those to read.
func (r *reader) take(p kv.Pair, end head, yield func(Line) bool) error {
	var l Line
	if err := json.Unmarshal(p.Value, &l); err != nil || lineKey(l.N) != p.Key {
		return broken(r.n + 1)
	}
	if l.N <= r.n || l.N > end.Lines {
		return nil
	}
	hash := hashOf(p.Value)
	if l.N != r.n+1 || r.hash != "" && l.Prev != r.hash || l.N == end.Lines && hash != end.Hash {
		return broken(r.n + 1)
	}
	r.n, r.hash = l.N, hash
	if !yield(l) {
		return errStop
	}
	return nil
}

func broken(n uint64) error {
	return cloud.Errorf(cloud.Internal, "line %d of the audit log is missing or was changed", n)
}
