// Command router measures what a proxied request costs in CPU and how long it takes: micro's router beside HAProxy
// and nginx, with the same backends and the same load over loopback, each in processes of its own, in turns, so that
// what else the machine does meets all three.
//
//	go run ./bench/router [-rounds 5] [-time 1s] [-conns 16]
//
// The first table has microseconds of CPU (user and system, from /proc) per request as medians over the rounds, and
// the median of the ratios of each round. The second has the median and the 99th percentile of the times that requests
// take: when each connection sends its next request at once, and at half of the rate that the slowest of the three
// reaches so. haproxy and nginx must be in PATH.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
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
	backends := flag.String("backends", "", "internal: what the router routes to")
	rounds := flag.Int("rounds", 5, "pairs of runs for each kind of request")
	length := flag.Duration("time", time.Second, "length of a run")
	conns := flag.Int("conns", 16, "connections, each with one request at a time")
	only := flag.String("only", "", "only the kinds of request whose name has this in it")
	threads := flag.Int("threads", 0, "threads of HAProxy and nginx, 0 for one for each processor")
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
		err = compare(ctx, options{*rounds, *length, *conns, *threads, *only, *profile})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
