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
	// quietBytes is how much a quiet node allocates at most in that time.
	quietBytes = 4 << 20
	// worthBytes is how much must have been allocated before memory is returned. Returning it needs a garbage
	// collection, which takes some milliseconds.
	worthBytes = 8 << 20
	// growth is how many percent the heap may grow before it is collected (GOGC). Collecting twice as often as
	// Go's default costs little: only about 4 MiB are in use, and the router allocates nothing for a request.
	growth = 50
)

// ReturnUnused returns memory to the system when the node has become quiet after work such as its start, a build
// or an upload. Go itself would keep that memory until there is more work. ReturnUnused runs until ctx ends.
func ReturnUnused(ctx context.Context) error {
	if os.Getenv("GOGC") == "" { // otherwise the administrator has chosen
		debug.SetGCPercent(growth)
	}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}} // since the process started
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
			_ = releaseProgram() // if it fails, the pages stay
			given = now
		}
		last = now
	}
}
