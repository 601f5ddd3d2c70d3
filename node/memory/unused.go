package memory

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// checkEvery is how often to check whether the node is quiet.
	checkEvery = 5 * time.Second
	// quietBytes is what a quiet node allocates at most in that time.
	quietBytes = 4 << 20
	// worthBytes is how much must have been allocated for giving memory back to be worth a collection: that
	// takes some milliseconds.
	worthBytes = 8 << 20
	// growth is by how many percent the heap may grow until it is collected. Some 4 MiB of it are in use, and
	// the router allocates nothing for a request: collecting twice as often as Go would costs little.
	growth = 50
)

// ReturnUnused returns memory to the system when the node has become quiet after work, such as its start, a
// build, an upload: left alone, Go keeps what that took until there is more work.
func ReturnUnused(ctx context.Context) error {
	if os.Getenv("GOGC") == "" { // else somebody knows better
		debug.SetGCPercent(growth)
	}
	tick := time.NewTicker(checkEvery)
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
