// Command places measures what a large cloud costs those who decide about it: Assign, which gives instances
// their places, Plan, by which a node follows, and the router's table and the zone, which every node makes
// for itself. Nothing runs: nodes and instances are values. It prints the CPU time and the memory that each
// takes, for all there is and for one change. Other work on the machine does not count.
//
//	go run ./bench/places [-nodes 1000] [-apps 10000] [-instances 100000] [-changes 200]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

func main() {
	nodes := flag.Int("nodes", 1000, "of the cloud, in three zones")
	apps := flag.Int("apps", 10_000, "with one release each")
	instances := flag.Int("instances", 100_000, "of all apps together")
	changes := flag.Int("changes", 200, "of each kind")
	flag.Parse()
	runtime.LockOSThread()
	if err := run(os.Stdout, *nodes, *apps, *instances, *changes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, nodes, apps, instances, changes int) error {
	fmt.Fprintf(w, "%d nodes, %d apps, %d instances\n\n", nodes, apps, instances)
	s := newSimulation(nodes, apps, instances/apps)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	s.everything()
	for k := range changes {
		if err := s.deploy(appOf(k * 7919 % apps)); err != nil {
			return err
		}
	}
	if err := s.loseNodes(min(changes, nodes/20)); err != nil {
		return err
	}
	fmt.Fprintln(table, "what\tp50\tp99\tallocated")
	for _, m := range s.measured {
		slices.Sort(m.took)
		fmt.Fprintf(table, "%s\t%v\t%v\t%s\n", m.what, quantile(m.took, 50), quantile(m.took, 99), size(m.allocated/uint64(len(m.took))))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	s.printStore(w)
	fmt.Fprintf(w, "heap in use: %s for the state, %s with the instances, %s with the table and the zone\n",
		size(s.heap[0]), size(s.heap[1]), size(s.heap[2]))
	return nil
}

// measurement is how long something took each time.
type measurement struct {
	what      string
	took      []time.Duration
	allocated uint64 // bytes, all times together
}

// measure calls do and adds what it took to the measurements of its kind.
func (s *simulation) measure(what string, do func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := cpuTime()
	do()
	took := cpuTime() - begun
	runtime.ReadMemStats(&after)
	k := slices.IndexFunc(s.measured, func(m *measurement) bool { return m.what == what })
	if k < 0 {
		k = len(s.measured)
		s.measured = append(s.measured, &measurement{what: what})
	}
	m := s.measured[k]
	m.took, m.allocated = append(m.took, took), m.allocated+after.TotalAlloc-before.TotalAlloc
}

// cpuTime is how long the thread has been at work. main keeps it to itself.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(t.Nano())
}

// printStore prints what a store has to keep and to write for this.
func (s *simulation) printStore(w io.Writer) {
	keys, bytes := 0, 0
	for key, o := range s.view.State.Objects() {
		value, err := cloud.Put(o).Encode()
		if err != nil {
			panic(err) // it was made by this program
		}
		keys, bytes = keys+1, bytes+len(key)+len(value)
	}
	deploys := max(1, s.deploys)
	fmt.Fprintf(w, "\nthe state: %d keys, %s\n", keys, size(uint64(bytes)))
	fmt.Fprintf(w, "a deploy of one app: %.1f transactions, %.1f keys, %s; its instances change %.0f times\n",
		float64(s.transactions)/float64(deploys), float64(s.keys)/float64(deploys), size(uint64(s.bytes/deploys)), float64(s.phases)/float64(deploys))
}

// heapInUse is what is in use after a collection.
func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func size(n uint64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)].Round(time.Microsecond)
}
