package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// crowds are those under way, by the script's data folder.
var crowds sync.Map

// crowd is a steady stream of clients, each known by its field X-Client.
type crowd struct {
	cancel context.CancelFunc
	end    sync.WaitGroup
	url    string
	host   string
}

// clients start HOST begins a stream of clients who ask twice each; clients start HOST noisy RELEASE adds one whom that
// release answers, and whose requests all fail: as many as those of all others. clients stop ends them.
func clientsCommand(ts *testscript.TestScript, neg bool, args []string) {
	key := ts.Getenv("MICRO_DATA")
	switch {
	case len(args) == 2 && args[0] == "start", len(args) == 4 && args[0] == "start" && args[2] == "noisy":
		ctx, cancel := context.WithCancel(context.Background())
		ts.Defer(cancel)
		c := &crowd{cancel: cancel, url: "http://127.0.0.1:" + ts.Getenv("HTTP"), host: args[1]}
		if _, ok := crowds.Swap(key, c); ok {
			ts.Fatalf("clients are under way already")
		}
		noisy := ""
		for n := 0; len(args) == 4 && noisy == ""; n++ {
			name := fmt.Sprint("noisy", n)
			body, err := c.ask(name, "/")
			ts.Check(err)
			if strings.Contains(body, " "+args[3]+" ") { // the instance's name is random
				noisy = name
			} else if n == 1000 {
				ts.Fatalf("none of 1000 clients is answered by %s", args[3])
			}
		}
		c.end.Go(func() { c.come(ctx, noisy) })
	case len(args) == 1 && args[0] == "stop":
		v, ok := crowds.LoadAndDelete(key)
		if !ok {
			ts.Fatalf("no clients are under way")
		}
		v.(*crowd).cancel()
		v.(*crowd).end.Wait()
	default:
		ts.Fatalf("usage: clients start HOST [noisy RELEASE], clients stop")
	}
}

// come has new clients come until ctx ends.
func (c *crowd) come(ctx context.Context, noisy string) {
	tick := time.NewTicker(4 * pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for range 2 {
			_, _ = c.ask(fmt.Sprint("client", n), "/") // micro counts what fails
			if noisy != "" {
				_, _ = c.ask(noisy, "/status?code=500")
			}
		}
	}
}

func (c *crowd) ask(client, path string) (body string, err error) {
	req, err := http.NewRequest(http.MethodGet, c.url+path, nil)
	if err != nil {
		return "", err
	}
	req.Host = c.host
	req.Header.Set("X-Client", client)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
