// Command dns measures what a query costs micro's DNS server in CPU, beside Knot: the same names, the same
// queries over loopback, each server in a process of its own, in turns, so that what else the machine does
// meets both.
//
//	go run ./bench/dns [-seconds 2] [-rounds 5] [-rate 40000]
//
// It prints microseconds of CPU (by the kernel's account of the process) per answer as medians over the
// rounds, and the median of the ratios of each pair. knotd, dnsperf and dig must be in PATH.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

func main() {
	serve := flag.String("serve", "", "internal: run as the server at this address")
	names := flag.Int("names", 10, "internal: how many names to serve")
	seconds := flag.Int("seconds", 2, "length of a run")
	rounds := flag.Int("rounds", 5, "pairs of runs for each number of names and rate")
	rate := flag.Int("rate", 40000, "queries a second of the steady runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *serve != "" {
		err = server(ctx, *serve, *names)
	} else {
		err = compare(ctx, *seconds, *rounds, *rate)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func name(i int) string { return fmt.Sprintf("app-%06d", i) }

// server is micro's side.
func server(ctx context.Context, addr string, names int) error {
	zone, err := dnsd.NewZone("micro.test")
	if err != nil {
		return err
	}
	v := cloud.NewView()
	var changes []cloud.Change
	for i := range names {
		changes = append(changes, cloud.Put(&cloud.App{AppRef: cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(name(i))}}))
	}
	v.State = v.State.Apply(1, changes)
	local := netip.MustParseAddr("127.0.0.1")
	s, err := dnsd.New(dnsd.Config{
		Listen:   []netip.AddrPort{netip.MustParseAddrPort(addr)},
		Networks: []dnsd.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Class: dnsd.Loopback, A: local}},
		Zone:     dnsd.Compile(zone, cloud.View{}, v),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// contender is a server process.
type contender struct {
	name string
	port int
	cmd  *exec.Cmd
}

func compare(ctx context.Context, seconds, rounds, rate int) error {
	dir, err := os.MkdirTemp("", "dnsbench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "names\tqueries\tknot µs\tmicro µs\tratio\t(least – most)\tknot answers/s\tmicro answers/s")
	for _, names := range []int{10, 10_000, 100_000} {
		if err := compareAt(ctx, table, dir, names, seconds, rounds, rate); err != nil {
			return err
		}
	}
	return table.Flush()
}

func compareAt(ctx context.Context, table io.Writer, dir string, names, seconds, rounds, rate int) error {
	queries := filepath.Join(dir, "queries")
	if err := writeQueries(queries, names); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	conf, err := knotConf(dir, names, 15353)
	if err != nil {
		return err
	}
	both := []*contender{
		{name: "knot", port: 15353, cmd: exec.CommandContext(ctx, "knotd", "-c", conf)},
		{name: "micro", port: 15354, cmd: exec.CommandContext(ctx, self, "-serve", "127.0.0.1:15354", "-names", strconv.Itoa(names))},
	}
	for _, c := range both {
		if err := c.cmd.Start(); err != nil {
			return err
		}
		defer func() { _ = c.cmd.Wait() }()
		defer func() { _ = c.cmd.Process.Kill() }()
	}
	for _, c := range both {
		if err := c.ready(ctx, name(names-1)); err != nil {
			return err
		}
	}
	rates := []int{rate, 0}
	if names == 10 {
		rates = []int{1000, rate, 0} // a rate at which most queries come alone
	}
	for _, steady := range rates {
		var cpu, answers [2][]float64
		var ratios []float64
		for range rounds {
			for i, c := range both {
				answered, used, err := c.run(ctx, queries, seconds, steady)
				if err != nil {
					return err
				}
				cpu[i] = append(cpu[i], used.Seconds()*1e6/float64(answered))
				answers[i] = append(answers[i], float64(answered)/float64(seconds))
			}
			last := len(cpu[0]) - 1
			ratios = append(ratios, cpu[1][last]/cpu[0][last])
		}
		what := "as many as it can"
		if steady > 0 {
			what = fmt.Sprintf("%d/s", steady)
		}
		fmt.Fprintf(table, "%d\t%s\t%.2f\t%.2f\t%.2f\t(%.2f – %.2f)\t%.0f\t%.0f\n", names, what, median(cpu[0]), median(cpu[1]),
			median(ratios), slices.Min(ratios), slices.Max(ratios), median(answers[0]), median(answers[1]))
	}
	return nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

func writeQueries(path string, names int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range 10_000 {
		fmt.Fprintf(w, "%s.micro.test A\n", name(i*7919%names))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// knotConf sets Knot up as its documentation has it for a small server: one UDP worker, as we have.
func knotConf(dir string, names, port int) (string, error) {
	var zone strings.Builder
	zone.WriteString("$ORIGIN micro.test.\n$TTL 5\n@ SOA ns hostmaster 1 3600 600 86400 5\n@ NS ns\nns A 127.0.0.1\n")
	for i := range names {
		fmt.Fprintf(&zone, "%s A 127.0.0.1\n", name(i))
	}
	if err := os.WriteFile(filepath.Join(dir, "micro.test.zone"), []byte(zone.String()), 0o600); err != nil {
		return "", err
	}
	conf := fmt.Sprintf(`server:
    rundir: %q
    listen: 127.0.0.1@%d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %q
zone:
  - domain: micro.test
    storage: %q
    journal-content: none
    zonefile-sync: -1
`, dir, port, filepath.Join(dir, fmt.Sprint("db", names)), dir)
	path := filepath.Join(dir, "knot.conf")
	return path, os.WriteFile(path, []byte(conf), 0o600)
}

// ready waits until the server answers for a name.
func (c *contender) ready(ctx context.Context, name string) error {
	for range 300 {
		out, _ := exec.CommandContext(ctx, "dig", "+short", "+time=1", "+tries=1", "-p", strconv.Itoa(c.port), "@127.0.0.1", name+".micro.test", "A").Output()
		if strings.TrimSpace(string(out)) == "127.0.0.1" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer", c.name)
}

var completed = regexp.MustCompile(`Queries completed: +(\d+)`)

// run returns how many queries were answered, and the server's CPU time.
func (c *contender) run(ctx context.Context, queries string, seconds, rate int) (int, time.Duration, error) {
	args := []string{"-s", "127.0.0.1", "-p", strconv.Itoa(c.port), "-d", queries, "-l", strconv.Itoa(seconds), "-c", "8", "-T", "1"}
	if rate > 0 {
		args = append(args, "-Q", strconv.Itoa(rate))
	}
	before, err := c.cpu()
	if err != nil {
		return 0, 0, err
	}
	out, err := exec.CommandContext(ctx, "dnsperf", args...).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("dnsperf: %w: %s", err, out)
	}
	after, err := c.cpu()
	if err != nil {
		return 0, 0, err
	}
	m := completed.FindSubmatch(out)
	if m == nil {
		return 0, 0, fmt.Errorf("dnsperf said no number: %s", out)
	}
	answered, err := strconv.Atoi(string(m[1]))
	if err == nil && answered == 0 {
		err = fmt.Errorf("%s answered nothing", c.name)
	}
	return answered, after - before, err
}

// cpu is the time that the process's threads have run, to the nanosecond.
func (c *contender) cpu() (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(ns)
	}
	return total, nil
}
