package node

import (
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// exposeProcess writes what the process and its Go runtime use, under the names that every Prometheus
// client has for them.
func exposeProcess(e *exposition, started time.Time) {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err == nil {
		spent := time.Duration(use.Utime.Nano() + use.Stime.Nano())
		e.counter("process_cpu_seconds_total", "User and system CPU time spent.", spent.Seconds())
	}
	if virtual, resident, ok := memory(); ok {
		e.gauge("process_resident_memory_bytes", "Memory in RAM.", float64(resident))
		e.gauge("process_virtual_memory_bytes", "Memory in the address space.", float64(virtual))
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		e.gauge("process_open_fds", "Open file descriptors.", float64(len(fds)-1)) // one is for looking
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		e.gauge("process_max_fds", "Most file descriptors that may be open.", float64(limit.Cur))
	}
	e.gauge("process_start_time_seconds", "When the process started, since 1970.", float64(started.UnixMilli())/1000)

	samples := make([]metrics.Sample, len(goMetrics))
	for i, m := range goMetrics {
		samples[i].Name = m.source
	}
	metrics.Read(samples)
	for i, m := range goMetrics {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			continue // this runtime has none of the name
		}
		e.family(m.name, m.kind, m.help)
		e.sample(m.name, float64(samples[i].Value.Uint64()))
	}
}

var goMetrics = []struct{ source, name, kind, help string }{
	{"/sched/goroutines:goroutines", "go_goroutines", "gauge", "Goroutines that exist."},
	{"/memory/classes/heap/objects:bytes", "go_memstats_alloc_bytes", "gauge", "Memory of objects on the heap."},
	{"/gc/heap/goal:bytes", "go_memstats_next_gc_bytes", "gauge", "Size of the heap at which the next collection ends."},
	{"/gc/heap/allocs:bytes", "go_memstats_alloc_bytes_total", "counter", "Memory ever allocated on the heap."},
	{"/gc/cycles/total:gc-cycles", "go_gc_cycles_total", "counter", "Collections of garbage that have ended."},
}

// memory is what /proc tells of the process's memory, in bytes.
func memory() (virtual, resident int64, ok bool) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, 0, false
	}
	page := int64(os.Getpagesize())
	virtual, verr := strconv.ParseInt(fields[0], 10, 64)
	resident, rerr := strconv.ParseInt(fields[1], 10, 64)
	return virtual * page, resident * page, verr == nil && rerr == nil
}
