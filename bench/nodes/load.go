package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	requests = 20_000
	clients  = 10
	body     = 64 << 20
	host     = "bench.micro.test"
)

// send prints the requests a second, the CPU time a request of each process, and how fast a large body is.
func send(w io.Writer, url string, pids []string) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}}
	if err := many(client, url, requests/10); err != nil { // connections, caches, the tunnel's first handshake
		return err
	}
	before := used(pids)
	begin := time.Now()
	if err := many(client, url, requests); err != nil {
		return err
	}
	fmt.Fprintf(w, "%.0f", requests/time.Since(begin).Seconds())
	for k, after := range used(pids) {
		fmt.Fprintf(w, "\t%.1f µs", float64((after-before[k]).Microseconds())/requests)
	}
	begin = time.Now()
	n, err := one(client, url+"/echo", io.LimitReader(zeros{}, body))
	if err != nil || n != body {
		return fmt.Errorf("%d of %d bytes came back: %w", n, body, err)
	}
	took := time.Since(begin)
	fmt.Fprintf(w, "\t%v (%.1f Gbit/s)\n", took.Round(time.Millisecond), 2*body*8/took.Seconds()/1e9)
	return nil
}

func many(client *http.Client, url string, count int) error {
	var all errgroup.Group
	for range clients {
		all.Go(func() error {
			for range count / clients {
				if _, err := one(client, url, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all.Wait()
}

// one sends a request and returns how many bytes were answered.
func one(client *http.Client, url string, body io.Reader) (int64, error) {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return 0, err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return io.Copy(io.Discard, resp.Body)
}

// used returns the CPU time of processes: fields 14 and 15 of /proc/PID/stat, in hundredths of a second.
func used(pids []string) (times []time.Duration) {
	for _, pid := range pids {
		stat, _ := os.ReadFile("/proc/" + pid + "/stat")
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		var ticks int
		for _, f := range fields[11:13] {
			n, _ := strconv.Atoi(f)
			ticks += n
		}
		times = append(times, time.Duration(ticks)*10*time.Millisecond)
	}
	return times
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
