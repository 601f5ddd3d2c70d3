package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type options struct {
	rounds        int
	length        time.Duration
	conns         int
	threads       int
	only, profile string
}

// proxy is one of those that are compared.
type proxy struct {
	name         string
	addr, secure string // for HTTP, and for TLS
	cmd          *exec.Cmd
}

// bench has everything that runs while the proxies are measured.
type bench struct {
	options
	procs   []*exec.Cmd
	proxies []*proxy
}

func compare(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o}
	defer b.stop()
	if err := b.start(ctx, dir); err != nil {
		return err
	}
	fmt.Printf("machine  %s\n\n", machine())
	var measured []figures
	for _, l := range loads {
		if !strings.Contains(l.name, o.only) {
			continue
		}
		f, err := b.measure(ctx, l)
		if err != nil {
			return err
		}
		measured = append(measured, f)
	}
	if err := b.print(measured); err != nil {
		return err
	}
	if err := b.http3(ctx); err != nil {
		return err
	}
	return b.memory(ctx)
}

// idleConns is how many connections wait while memory is measured.
const idleConns = 1000

// memory prints what an idle connection by TLS costs each proxy, after one request on it.
func (b *bench) memory(ctx context.Context) error {
	if !strings.Contains("TLS: memory", b.only) {
		return nil
	}
	fmt.Printf("\nKiB of memory (RSS) of an idle connection by TLS, of %d\n", idleConns)
	for _, p := range b.proxies {
		before, err := resident(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		closeAll, err := idle(ctx, p, idleConns)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		after, err := resident(p.cmd.Process.Pid)
		closeAll()
		if err != nil {
			return err
		}
		fmt.Printf("%-8s  %.1f\n", p.name, float64(after-before)/1024/idleConns)
	}
	return nil
}

// start starts two backends, and the proxies in front of them.
func (b *bench) start(ctx context.Context, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ports, err := freePorts(8)
	if err != nil {
		return err
	}
	backends := ports[:2]
	for _, p := range backends {
		if _, err := b.run(ctx, self, "-role", "backend", "-listen", p); err != nil {
			return err
		}
	}
	cert, err := newCertificate(dir)
	if err != nil {
		return err
	}
	haproxy, nginx := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(haproxy, []byte(haproxyConfig(ports[2], ports[5], cert, backends, b.threads)), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(nginx, []byte(nginxConfig(dir, ports[3], ports[6], cert, backends, b.threads)), 0o600); err != nil {
		return err
	}
	for _, p := range []struct {
		name, addr, secure string
		command            []string
	}{
		{"haproxy", ports[2], ports[5], []string{"haproxy", "-db", "-f", haproxy}},
		{"nginx", ports[3], ports[6], []string{"nginx", "-p", dir, "-c", nginx, "-e", "stderr"}},
		{"micro", ports[4], ports[7], []string{self, "-role", "router", "-listen", ports[4], "-secure", ports[7], "-cert", cert, "-backends", strings.Join(backends, ","), "-profile", b.profile}},
	} {
		cmd, err := b.run(ctx, p.command[0], p.command[1:]...)
		if err != nil {
			return err
		}
		b.proxies = append(b.proxies, &proxy{p.name, p.addr, p.secure, cmd})
	}
	for _, addr := range ports {
		if err := await(ctx, addr); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) run(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	b.procs = append(b.procs, c)
	return c, nil
}

func (b *bench) stop() {
	for _, p := range b.procs {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait()
	}
}

// figures are what was measured with one kind of request, by proxy.
type figures struct {
	load
	cost, rate         [][]float64 // of each round: microseconds of CPU per request, requests per second
	saturated, halfway []times
}

func (b *bench) measure(ctx context.Context, l load) (figures, error) {
	n := len(b.proxies)
	f := figures{l, make([][]float64, n), make([][]float64, n), make([]times, n), make([]times, n)}
	each := func(rate float64, use func(i int, s sample)) error {
		for range b.rounds {
			for i, p := range b.proxies {
				s, err := b.sample(ctx, p, l, rate)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, l.name, err)
				}
				use(i, s)
			}
		}
		return nil
	}
	err := each(0, func(i int, s sample) {
		f.cost[i], f.rate[i] = append(f.cost[i], s.cost), append(f.rate[i], s.rate)
		f.saturated[i] = append(f.saturated[i], s.times...)
	})
	if err != nil {
		return f, err
	}
	half := median(f.rate[0])
	for _, r := range f.rate {
		half = min(half, median(r))
	}
	return f, each(half/2, func(i int, s sample) { f.halfway[i] = append(f.halfway[i], s.times...) })
}

// sample is what one run has shown.
type sample struct {
	cost, rate float64
	times      times
}

// sample puts load on a proxy: at a rate in requests per second, or at any rate that it reaches where rate is 0.
func (b *bench) sample(ctx context.Context, p *proxy, l load, rate float64) (sample, error) {
	// Connections are made and buffers grown before the clock starts.
	if _, err := drive(ctx, p, l, b.length/5, b.conns, rate); err != nil {
		return sample{}, err
	}
	before, err := cpu(p.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	begun := time.Now()
	t, err := drive(ctx, p, l, b.length, b.conns, rate)
	if err != nil {
		return sample{}, err
	}
	took := time.Since(begun)
	after, err := cpu(p.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	n := float64(len(t))
	return sample{(after - before).Seconds() * 1e6 / n, n / took.Seconds(), t}, nil
}

func (b *bench) print(all []figures) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	micro := len(b.proxies) - 1
	fmt.Fprint(w, "µs of CPU per request")
	for _, p := range b.proxies {
		fmt.Fprintf(w, "\t%s", p.name)
	}
	for _, p := range b.proxies[:micro] {
		fmt.Fprintf(w, "\tmicro/%s (least – most)", p.name)
	}
	for _, p := range b.proxies {
		fmt.Fprintf(w, "\t%s req/s", p.name)
	}
	for _, f := range all {
		fmt.Fprintf(w, "\n%s", f.name)
		for i := range b.proxies {
			fmt.Fprintf(w, "\t%.1f", median(f.cost[i]))
		}
		for i := range micro {
			var ratios []float64
			for round := range f.cost[i] {
				ratios = append(ratios, f.cost[micro][round]/f.cost[i][round])
			}
			fmt.Fprintf(w, "\t%.2f (%.2f – %.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
		for i := range b.proxies {
			fmt.Fprintf(w, "\t%.0f", median(f.rate[i]))
		}
	}
	fmt.Fprint(w, "\n\nms per request, p50 and p99")
	for _, p := range b.proxies {
		fmt.Fprintf(w, "\t%s\t", p.name)
	}
	for _, f := range all {
		for _, row := range []struct {
			name  string
			times []times
		}{{"as fast as it goes", f.saturated}, {"half load", f.halfway}} {
			fmt.Fprintf(w, "\n%s, %s", f.name, row.name)
			for _, t := range row.times {
				fmt.Fprintf(w, "\t%.2f\t%.2f", ms(t.quantile(0.5)), ms(t.quantile(0.99)))
			}
		}
	}
	fmt.Fprintf(w, "\n\nmachine  %s\n", machine())
	return w.Flush()
}
