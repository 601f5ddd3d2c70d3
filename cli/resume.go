package cli

import (
	"context"
	"iter"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	// reconnectFor is how long a node is looked for after the connection to it broke.
	reconnectFor = 30 * time.Second
	reconnectIn  = 500 * time.Millisecond
)

// resumed yields what is followed, over lost connections and restarts of the node: begin asks for what
// comes behind a cursor, "" for the beginning. A node that was never reached, also not before, is not looked
// for, and a stream whose elements have no cursors is not resumed.
func resumed[T any](ctx context.Context, reached bool, begin func(after string) iter.Seq2[T, error], cursor func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		after := ""
		var lost time.Time // when the node was last reached
		if reached {
			lost = time.Now()
		}
		for {
			began, some := time.Now(), false
			var none T
			var broke error
			for v, err := range begin(after) {
				if broke = err; err != nil {
					break
				}
				after, some = cursor(v), true
				if !yield(v, nil) {
					return
				}
			}
			if some || time.Since(began) > reconnectIn {
				lost = time.Now()
			}
			switch {
			case broke == nil:
				return
			case cloud.CodeOf(broke) != cloud.Unavailable, lost.IsZero(), some && after == "", time.Since(lost) > reconnectFor:
				yield(none, broke)
				return
			}
			select {
			case <-time.After(reconnectIn):
			case <-ctx.Done():
				yield(none, ctx.Err())
				return
			}
		}
	}
}
