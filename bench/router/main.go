// Command router measures what a proxied request costs in CPU and how long it takes: micro's router beside HAProxy
// and nginx, with the same backends and the same load over loopback, each in processes of its own, in turns, so that
// what else the machine does meets all three.
//
//	go run ./bench/router [-rounds 5] [-time 1s] [-conns 16]
//
// The first table has microseconds of CPU (user and system, from /proc) per request as medians over the rounds, and
// the median of the ratios of each round. The second has the median and the 99th percentile of the times that requests
// take: when each connection sends its next request at once, and at half of the rate that the slowest of the three
// reaches so. The third has the router's HTTP/3 beside its own HTTP/2, in turns, because Debian's HAProxy and nginx have none.
// The last has the memory of an idle connection by TLS. haproxy and nginx must be in PATH.
//
// All use the same certificate (ECDSA P-256), TLS 1.3, AES-128-GCM and X25519.
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
	way    way
}

// way is how a load reaches a proxy.
type way int

const (
	plain   way = iota
	byTLS       // HTTP/1.1 on connections that stay
	newTLS      // a connection for each request, without resumption
	byHTTP2     // ten streams at a time on each connection, by TLS
	byHTTP3     // the same by QUIC
)

var loads = []load{
	{"GET, 120 B answer", "/120", 0, plain},
	{"POST 16 KiB", "/120", 16 << 10, plain},
	{"GET, 64 KiB answer", "/65536", 0, plain},
	{"GET, 1 MiB answer", "/1048576", 0, plain},
	{"TLS: GET, 120 B answer", "/120", 0, byTLS},
	{"TLS: POST 16 KiB", "/120", 16 << 10, byTLS},
	{"TLS: GET, 64 KiB answer", "/65536", 0, byTLS},
	{"TLS: new connection, GET", "/120", 0, newTLS},
	{"HTTP/2: GET, 120 B answer", "/120", 0, byHTTP2},
	{"HTTP/2: POST 16 KiB", "/120", 16 << 10, byHTTP2},
	{"HTTP/2: GET, 64 KiB answer", "/65536", 0, byHTTP2},
}

func main() {
	role := flag.String("role", "", "internal: run as backend or router")
	listen := flag.String("listen", "", "internal: where to listen")
	secure := flag.String("secure", "", "internal: where to listen for TLS")
	cert := flag.String("cert", "", "internal: the certificate")
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
		err = serveRouter(ctx, *listen, *secure, *cert, strings.Split(*backends, ","), *profile)
	default:
		err = compare(ctx, options{*rounds, *length, *conns, *threads, *only, *profile})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
