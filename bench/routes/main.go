// Command routes measures how soon a change of one route among many is in the router's table: from the
// call that writes it, through the store's transaction with its fsync, to the table that requests are
// looked up in. It prints that, the part after the commit, and the memory that the routes take.
//
//	go run ./bench/routes [-routes 100000] [-changes 1000]
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/boltkv"
)

func main() {
	routes := flag.Int("routes", 100_000, "mapped hosts")
	changes := flag.Int("changes", 1000, "of one route each")
	flag.Parse()
	if err := run(*routes, *changes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(routes, changes int) (err error) {
	dir, err := os.MkdirTemp("", "routes")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := boltkv.Open(boltkv.Config{Dir: dir + "/store", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	snapshots := cloud.NewCell()
	var committed atomic.Int64 // when the state was shown, which is right after its commit
	s, err := store.Open(ctx, store.Config{Engine: db, OnState: func(state *cloud.State) {
		committed.Store(time.Now().UnixNano())
		snapshots.SetState(state)
	}})
	if err != nil {
		return err
	}
	go func() {
		if err := s.Run(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "bench: store:", err)
		}
	}()
	by := cloud.Actor{Name: "bench"}
	update := func(fn func(*cloud.State) ([]cloud.Change, error)) error {
		_, err := s.Update(ctx, by, "bench", "routes", fn)
		return err
	}
	if err := fill(update, routes); err != nil {
		return err
	}

	r, compiler := router.New(router.Config{}), &router.Compiler{}
	first := snapshots.View()
	r.Swap(compiler.Compile(nil, first))
	tables := make(chan cloud.Revision, 16)
	go func() {
		for old := first; ; {
			now, err := snapshots.Changed(ctx, old)
			if err != nil {
				return
			}
			r.Swap(compiler.Compile(r.Table(), now))
			tables <- now.State.Rev()
			old = now
		}
	}()
	var whole, after []time.Duration
	for n := range changes {
		host := hostOf((n * 7919) % routes)
		begun := time.Now()
		err := update(func(s *cloud.State) ([]cloud.Change, error) {
			vhost, _ := s.VirtualHost(host)
			route := vhost.Routes[0]
			route.Headers = !route.Headers
			return []cloud.Change{cloud.Put(vhost.With(route))}, nil
		})
		if err != nil {
			return err
		}
		for rev := s.State().Rev(); <-tables < rev; {
		}
		done := time.Now()
		whole, after = append(whole, done.Sub(begun)), append(after, done.Sub(time.Unix(0, committed.Load())))
	}
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	fmt.Printf("%d routes, %d changes of one: in the table %v after the commit (p50), %v (p99); %v and %v after the call\n",
		routes, changes, quantile(after, 50), quantile(after, 99), quantile(whole, 50), quantile(whole, 99))
	fmt.Printf("heap in use: %d MiB, for the state and the table of all routes\n", mem.HeapInuse>>20)
	return nil
}

// fill writes an app with a release, and the hosts that lead to it, some hundreds a transaction.
func fill(update func(func(*cloud.State) ([]cloud.Change, error)) error, routes int) error {
	at := cloud.Stamp{At: time.Now(), By: "bench"}
	app := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	err := update(func(s *cloud.State) ([]cloud.Change, error) { return s.Init(at), nil })
	if err == nil {
		err = update(func(s *cloud.State) ([]cloud.Change, error) {
			changes, _, err := s.Push(cloud.Push{App: app, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:0"}}}, at)
			return changes, err
		})
	}
	const batch = 1000
	for from := 0; from < routes && err == nil; from += batch {
		err = update(func(*cloud.State) ([]cloud.Change, error) {
			var changes []cloud.Change
			for n := from; n < min(from+batch, routes); n++ {
				changes = append(changes, cloud.Put(&cloud.VirtualHost{
					Host: hostOf(n), Group: app.Group, Exposure: cloud.ExposedInternal, Created: at.At,
					Routes: []cloud.Route{{Path: "/", Targets: []cloud.Target{{ReleaseRef: app.Release(1)}}}},
				}))
			}
			return changes, nil
		})
	}
	return err
}

func hostOf(n int) cloud.Host { return cloud.Host(fmt.Sprintf("host%d.example.com", n)) }

func quantile(d []time.Duration, percent int) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*percent/100)].Round(time.Microsecond)
}
