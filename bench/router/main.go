// Command router measures what a proxied request costs in CPU, micro's router beside HAProxy: the same
// backends, the same load over loopback, each in a process of its own, in turns, so that what else the
// machine does meets both.
//
//	go run ./bench/router [-rounds 5] [-time 1s] [-conns 16]
//
// It prints microseconds of CPU (user and system, from /proc) per request as medians over the rounds,
// and the median of the ratios of each pair. haproxy must be in PATH.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// load is one kind of request.
type load struct {
	name   string
	path   string // what the backend answers with, by its size
	upload int
}

var loads = []load{
	{"GET, 120 B answer", "/120", 0},
	{"POST 16 KiB", "/120", 16 << 10},
	{"GET, 64 KiB answer", "/65536", 0},
	{"GET, 1 MiB answer", "/1048576", 0},
}

func main() {
	role := flag.String("role", "", "internal: run as backend or router")
	listen := flag.String("listen", "", "internal: where to listen")
	backends := flag.String("backends", "", "internal: where the router leads to")
	rounds := flag.Int("rounds", 5, "pairs of runs for each kind of request")
	length := flag.Duration("time", time.Second, "length of a run")
	conns := flag.Int("conns", 16, "connections, each with one request at a time")
	only := flag.String("only", "", "only the kinds of request whose name has this in it")
	threads := flag.Int("threads", 0, "HAProxy's threads, 0 for its default: one for each processor")
	profile := flag.String("profile", "", "write a CPU profile of the router here")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch *role {
	case "backend":
		err = serveBackend(ctx, *listen)
	case "router":
		err = serveRouter(ctx, *listen, strings.Split(*backends, ","), *profile)
	default:
		err = compare(ctx, *rounds, *length, *conns, *threads, *only, *profile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// proxy is one of the two that are compared.
type proxy struct {
	name string
	addr string
	cmd  *exec.Cmd
}

func compare(ctx context.Context, rounds int, length time.Duration, conns, threads int, only, profile string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	var procs []*exec.Cmd
	defer func() {
		for _, p := range procs {
			_ = p.Process.Signal(syscall.SIGTERM)
			_ = p.Wait()
		}
	}()
	start := func(name string, args ...string) (*exec.Cmd, error) {
		c := exec.CommandContext(ctx, name, args...)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		procs = append(procs, c)
		return c, nil
	}
	for _, p := range ports[:2] {
		if _, err := start(self, "-role", "backend", "-listen", p); err != nil {
			return err
		}
	}
	config := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(haproxyConfig(ports[2], ports[:2], threads)), 0o600); err != nil {
		return err
	}
	hp, err := start("haproxy", "-db", "-f", config)
	if err != nil {
		return err
	}
	micro, err := start(self, "-role", "router", "-listen", ports[3], "-backends", strings.Join(ports[:2], ","), "-profile", profile)
	if err != nil {
		return err
	}
	pair := []*proxy{{"haproxy", ports[2], hp}, {"micro", ports[3], micro}}
	for _, p := range append([]string{ports[0], ports[1]}, pair[0].addr, pair[1].addr) {
		if err := await(ctx, p); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "machine\t%s\n\n", machine())
	fmt.Fprintln(w, "request\thaproxy µs\tmicro µs\tratio\t(least – most)\thaproxy req/s\tmicro req/s")
	for _, l := range loads {
		if !strings.Contains(l.name, only) {
			continue
		}
		var cost, rate [2][]float64
		var ratios []float64
		for range rounds {
			var now [2]float64
			for i, p := range pair {
				c, r, err := run(ctx, p, l, length, conns)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, l.name, err)
				}
				now[i] = c
				cost[i], rate[i] = append(cost[i], c), append(rate[i], r)
			}
			ratios = append(ratios, now[1]/now[0])
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t(%.2f – %.2f)\t%.0f\t%.0f\n", l.name, median(cost[0]), median(cost[1]),
			median(ratios), slices.Min(ratios), slices.Max(ratios), median(rate[0]), median(rate[1]))
	}
	fmt.Fprintf(w, "\nmachine\t%s\n", machine())
	return w.Flush()
}

// run puts load on a proxy and returns its CPU per request in microseconds and the requests per second.
func run(ctx context.Context, p *proxy, l load, length time.Duration, conns int) (cost, rate float64, err error) {
	// Connections are made and buffers grown before the clock starts.
	if _, err := drive(ctx, p.addr, l, length/5, conns); err != nil {
		return 0, 0, err
	}
	before, err := cpu(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	n, err := drive(ctx, p.addr, l, length, conns)
	if err != nil {
		return 0, 0, err
	}
	took := time.Since(begun)
	after, err := cpu(p.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	return (after - before).Seconds() * 1e6 / float64(n), float64(n) / took.Seconds(), nil
}

// cpu is the time that a process has used, its kernel's share too.
func cpu(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// utime and stime are fields 14 and 15; the second, in brackets, may have spaces.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100), err
}

func machine() string {
	b, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(b))
	if len(f) < 3 {
		return "load unknown"
	}
	return "load " + strings.Join(f[:3], " ")
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
