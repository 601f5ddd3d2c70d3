package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryEvery is how often a look is taken whether the node is quiet.
	memoryEvery = 5 * time.Second
	// quietBytes is what a quiet node allocates at most in that time.
	quietBytes = 4 << 20
	// worthBytes is how much must have been allocated for giving memory back to be worth a collection: that
	// takes some milliseconds.
	worthBytes = 8 << 20
)

// giveBack returns memory to the system when the node has become quiet after work, such as its start, a
// build, an upload: left alone, Go keeps what that took until there is more work.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}} // since the process began
	var last, given uint64
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		if now-last < quietBytes && now-given >= worthBytes {
			debug.FreeOSMemory()
			given = now
		}
		last = now
	}
}
