package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// answer is how one request of a client ended.
type answer struct {
	m          *machine // whose router was asked
	host       string
	start, end time.Time
	err        error
}

// clients send requests to the routers of all machines.
type clients struct {
	mu     sync.Mutex
	failed []answer
	sent   int
	worst  time.Duration
}

// request asks a machine's router for a host's page.
func request(ctx context.Context, m *machine, host string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/", nil)
	if err != nil {
		return "", err
	}
	req.Host = host
	resp, err := m.web.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, b)
	}
	return string(b), err
}

// work sends requests to one machine until ctx ends, to all hosts in turn.
func (c *clients) work(ctx context.Context, m *machine, hosts func() []string) {
	for n := 0; ctx.Err() == nil; n++ {
		all := hosts()
		a := answer{m: m, host: all[n%len(all)], start: time.Now()}
		asking, cancel := context.WithTimeout(ctx, 15*time.Second)
		_, a.err = request(asking, m, a.host)
		cancel()
		a.end = time.Now()
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.sent++
		if a.err != nil {
			c.failed = append(c.failed, a)
		}
		c.mu.Unlock()
		pauseFor(ctx, 40*time.Millisecond)
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// watchSingleton returns an error if two processes of an app that must not run twice run at the same time. They are known
// by a variable in their environment.
func watchSingleton(ctx context.Context, mark string) error {
	for ctx.Err() == nil {
		// Look twice: a process may have ended, and the next one begun, while all are looked through.
		if first := processesWith(mark); len(first) > 1 {
			second := processesWith(mark)
			both := slices.DeleteFunc(first, func(p string) bool { return !slices.Contains(second, p) })
			if len(both) > 1 {
				where := ""
				for _, pid := range both {
					b, _ := os.ReadFile("/proc/" + pid + "/cgroup") // it may have ended by now
					where += string(b)
				}
				return fmt.Errorf("an app that must not run twice runs as %v at %s:\n%s", both, time.Now().UTC().Format(time.StampMilli), where)
			}
		}
		pauseFor(ctx, 100*time.Millisecond)
	}
	return nil
}

// processesWith returns the running processes of hello-go whose environment has a variable.
func processesWith(variable string) (all []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		if comm, err := os.ReadFile(name); err != nil || string(comm) != "hello\n" {
			continue
		}
		dir := filepath.Dir(name)
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return string(v) == variable }) {
			continue
		}
		if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil && !strings.Contains(string(stat), ") Z ") {
			all = append(all, filepath.Base(dir))
		}
	}
	return all
}
