package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// ledgers are those that are being written, by the script's data folder.
var ledgers sync.Map

// ledger is what clients of the app ledger wrote: rows that were acknowledged, and requests that failed.
type ledger struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu     sync.Mutex
	acked  []string
	failed []string
}

// ledger start HOST has eight clients write rows, one a request. ledger reach N waits until N rows more are
// acknowledged. ledger stop ends the clients, fails where a request failed, and writes the acknowledged rows to the file
// acked, one a line. ledger split FILE… fails unless each acknowledged row is in exactly one of the files.
func ledgerCommand(ts *testscript.TestScript, neg bool, args []string) {
	key := ts.Getenv("MICRO_DATA")
	running := func() *ledger {
		l, ok := ledgers.Load(key)
		if !ok {
			ts.Fatalf("nothing writes a ledger")
		}
		return l.(*ledger)
	}
	switch {
	case len(args) == 2 && args[0] == "start":
		ctx, cancel := context.WithCancel(context.Background())
		l := &ledger{cancel: cancel}
		ledgers.Store(key, l)
		ts.Defer(cancel)
		run := strconv.FormatInt(time.Now().UnixNano(), 36)
		for n := range 8 {
			l.clients.Go(func() { l.write(ctx, fmt.Sprintf("%s-%d", run, n), "http://127.0.0.1:"+ts.Getenv("HTTP"), args[1]) })
		}
	case len(args) == 2 && args[0] == "reach":
		l := running()
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		goal := l.count() + n
		for until := time.Now().Add(5 * time.Minute); l.count() < goal; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				ts.Fatalf("%d of %d rows were written: %v", l.count(), goal, l.failed[:min(3, len(l.failed))])
			}
		}
	case len(args) == 1 && args[0] == "stop":
		l := running()
		l.cancel()
		l.clients.Wait()
		ts.Logf("%d rows were acknowledged, %d requests failed", len(l.acked), len(l.failed))
		if len(l.failed) > 0 {
			ts.Fatalf("%d requests failed: %s", len(l.failed), strings.Join(l.failed[:min(5, len(l.failed))], "; "))
		}
		ts.Check(os.WriteFile(ts.MkAbs("acked"), []byte(strings.Join(l.acked, "\n")+"\n"), 0o600))
	case len(args) > 1 && args[0] == "split":
		splitLedger(ts, args[1:])
	default:
		ts.Fatalf("usage: ledger start HOST | reach N | stop | split FILE…")
	}
}

func splitLedger(ts *testscript.TestScript, files []string) {
	found := map[string][]string{}
	for _, file := range files {
		for _, id := range strings.Fields(ts.ReadFile(file)) {
			found[id] = append(found[id], filepath.Base(file))
		}
	}
	in := map[string]int{}
	for _, id := range strings.Fields(ts.ReadFile("acked")) {
		if len(found[id]) != 1 {
			ts.Fatalf("row %s is in %v", id, found[id])
		}
		in[found[id][0]]++
	}
	ts.Logf("acknowledged rows: %v", in)
	for _, file := range files {
		if in[filepath.Base(file)] == 0 {
			ts.Fatalf("no acknowledged row is in %s", file)
		}
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *ledger) write(ctx context.Context, name, url, host string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: patience}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%s-%d", name, n)
		err := post(client, url+"/"+id, host)
		l.mu.Lock()
		if err != nil {
			l.failed = append(l.failed, id+": "+err.Error())
		} else {
			l.acked = append(l.acked, id)
		}
		stop := len(l.failed) > 50
		l.mu.Unlock()
		if stop {
			return
		}
	}
}

func post(client *http.Client, url, host string) error {
	req, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.100s", resp.StatusCode, body)
	}
	return err
}
