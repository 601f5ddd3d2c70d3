package store

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// rawSync returns the average time of a synced write of 4 KiB to the disk of dir.
func rawSync(b *testing.B, dir string) time.Duration {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	const n = 200
	began := time.Now()
	for i := range n {
		page[0] = byte(i)
		if _, err := f.WriteAt(page, int64(i%16)*4096); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) / n
}

// BenchmarkUpdate measures changes one after the other, on a real disk.
func BenchmarkUpdate(b *testing.B) {
	dir := b.TempDir()
	s := newStore(b, Config{Engine: newEngine(b, filepath.Join(dir, "s"))})
	raw := rawSync(b, dir)
	for b.Loop() {
		update(b, s, count("a"))
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(raw), "syncs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkUpdateTogether measures changes by 64 concurrent callers.
func BenchmarkUpdateTogether(b *testing.B) {
	dir := b.TempDir()
	s := newStore(b, Config{Engine: newEngine(b, filepath.Join(dir, "s"))})
	raw := rawSync(b, dir)
	var caller atomic.Int64
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		name := cloud.GroupName(fmt.Sprint("g", caller.Add(1)))
		for p.Next() {
			update(b, s, count(name))
		}
	})
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(raw), "syncs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkOpen opens a cloud of 10,000 apps with three releases each: check of the file, checksums, and state.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "s")
	e := newEngine(b, dir)
	s := newStore(b, Config{Engine: e})
	const apps, chunk = 10_000, 100
	at := cloud.Stamp{At: time.Now(), By: "alice"}
	image := cloud.Built{Ports: []int{8080}}
	for from := 0; from < apps; from += chunk {
		update(b, s, func(state *cloud.State) (all []cloud.Change, err error) {
			if from == 0 {
				all = state.Init(at)
				state = state.Apply(state.Rev()+1, all)
			}
			for i := range chunk {
				app := cloud.AppRef{Group: cloud.DefaultGroup, App: cloud.AppName(fmt.Sprint("app", from+i))}
				for range 3 {
					changes, _, err := state.Push(cloud.Push{App: app, Built: image, Spec: cloud.PushSpec{Env: map[string]string{"KEY": "a value"}}}, at)
					if err != nil {
						return nil, err
					}
					all = append(all, changes...)
					state = state.Apply(state.Rev()+1, changes)
				}
			}
			return all, nil
		})
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e := newEngine(b, dir)
		opened := time.Now()
		newStore(b, Config{Engine: e})
		b.ReportMetric(float64(time.Since(opened).Milliseconds()), "state-ms")
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
