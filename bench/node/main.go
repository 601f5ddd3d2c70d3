// Command node measures a node from outside: how soon it is ready, what it weighs, how soon an image
// answers, how long a push of an unchanged folder takes, and how a node with many apps comes back. Each
// figure stands beside the bar it is held to, reached or not.
//
//	make build helpers && sudo env PATH=$PWD/runtime/engine/helpers/bin:$PATH go run ./bench/node [-micro bin/micro] [-rounds 11] [-apps 100]
//
// It starts nodes of its own, with folders, ports and subnet of their own, and takes them down again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	program := flag.String("micro", "bin/micro", "the binary to measure")
	rounds := flag.Int("rounds", 11, "of each measurement")
	apps := flag.Int("apps", 100, "of the node with many; 0 leaves it out")
	only := flag.String("only", "", "measure only this: weight, ready, running, files, services, many")
	flag.Parse()
	if err := run(ctx, os.Stdout, *program, *rounds, *apps, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figure is a line of the table.
type figure struct {
	what, value, bar string // a figure without a bar is there to be known
	reached          bool
	ratio            float64 // of a figure that is one
}

func run(ctx context.Context, w io.Writer, program string, rounds, apps int, only string) (err error) {
	program, err = filepath.Abs(program)
	if err != nil {
		return err
	}
	var figures []figure
	for _, part := range []struct {
		name    string
		measure func(context.Context, string, int) ([]figure, error)
	}{{"weight", weight}, {"ready", ready}, {"running", running}, {"files", manyFiles}, {"services", serviceFigures}} {
		if only != "" && part.name != only {
			continue
		}
		some, err := part.measure(ctx, program, rounds)
		if err != nil {
			return err
		}
		figures = append(figures, some...)
	}
	if apps > 0 && (only == "" || only == "many") {
		some, err := many(ctx, program, apps)
		if err != nil {
			return err
		}
		figures = append(figures, some...)
	}
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.Debug)
	for _, f := range figures {
		verdict := "reached"
		switch {
		case f.bar == "":
			verdict = ""
		case !f.reached:
			verdict = "missed"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.what, f.value, f.bar, verdict)
	}
	return table.Flush()
}

// weight is the size of the binary.
func weight(_ context.Context, program string, _ int) ([]figure, error) {
	info, err := os.Stat(program)
	if err != nil {
		return nil, err
	}
	return []figure{bytesFigure("binary", info.Size(), 90e6, "90 MB", 1e6, "MB")}, nil
}

// ready is the time from exec on an empty folder to READY=1.
func ready(ctx context.Context, program string, rounds int) ([]figure, error) {
	var times []time.Duration
	for range rounds {
		n, took, err := startNode(ctx, program)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
		if err := n.close(); err != nil {
			return nil, err
		}
	}
	return []figure{timeFigure("micro up on an empty folder, to ready", times, 150*time.Millisecond)}, nil
}

// running is what is measured at one node that runs.
func running(ctx context.Context, program string, rounds int) (figures []figure, err error) {
	n, _, err := startNode(ctx, program)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	idle, err := n.rss()
	if err != nil {
		return nil, err
	}
	figures = append(figures, bytesFigure("memory of an idle node (RSS)", idle, 60<<20, "60 MiB", 1<<20, "MiB"))

	answers, bare, err := n.firstAnswers(ctx, rounds)
	if err != nil {
		return nil, err
	}
	figures = append(figures, ratioFigure("image in store, to first 200: ratio to runc run of the same program", answers, bare),
		timeFigure("image in store, to first 200", answers, 90*time.Millisecond))

	pushes, err := n.unchangedPushes(ctx, max(rounds/2, 3))
	if err != nil {
		return nil, err
	}
	figures = append(figures, timeFigure("push of an unchanged folder with a Dockerfile", pushes, 1500*time.Millisecond))

	after, err := n.rss()
	if err != nil {
		return nil, err
	}
	return append(figures, bytesFigure("memory of the node after builds (RSS)", after, 60<<20, "60 MiB", 1<<20, "MiB")), nil
}

func timeFigure(what string, times []time.Duration, bar time.Duration) figure {
	slices.Sort(times)
	median := times[len(times)/2]
	return figure{
		what:    what,
		value:   fmt.Sprintf("%.0f ms (%.0f–%.0f, n=%d)", ms(median), ms(times[0]), ms(times[len(times)-1]), len(times)),
		bar:     fmt.Sprintf("≤ %.0f ms", ms(bar)),
		reached: median <= bar,
	}
}

// ratioFigure sets the times of one thing beside those of another, which was measured in turns with it.
func ratioFigure(what string, times, beside []time.Duration) figure {
	var ratios []float64
	for i := range times {
		ratios = append(ratios, float64(times[i])/float64(beside[i]))
	}
	slices.Sort(ratios)
	least := slices.Sorted(slices.Values(beside))
	return figure{what: what, ratio: ratios[len(ratios)/2], value: fmt.Sprintf("%.2f (%.2f–%.2f) of %.0f ms", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1], ms(least[len(least)/2]))}
}

// atMost gives a ratio its bar.
func (f figure) atMost(bar float64) figure {
	f.bar, f.reached = fmt.Sprintf("≤ %g", bar), f.ratio <= bar
	return f
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func bytesFigure(what string, n, bar int64, barText string, unit float64, unitText string) figure {
	return figure{what: what, value: fmt.Sprintf("%.1f %s", float64(n)/unit, unitText), bar: "≤ " + barText, reached: n <= bar}
}
