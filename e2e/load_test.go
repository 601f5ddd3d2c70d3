package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/protoduction/micro/api"
)

// loads are those under way, by the script's data folder.
var loads sync.Map

// load is steady work for a host: requests on connections that are kept and on new ones, GET and POST.
type load struct {
	cancel   context.CancelFunc
	workers  sync.WaitGroup
	sent     atomic.Int64
	mu       sync.Mutex
	failures []string
}

// load start HOST begins requests by four clients, and load start HOST tls by four more: two of HTTP/1.1 by TLS, two of
// HTTP/2; load start HOST passed has four clients by TLS alone, and load start tcp:PORT four at that port, with a new
// connection for each request; load start HOST http3 has four clients of HTTP/3, and two of them begin a connection every
// ten requests; load stop MINIMUM ends them, and fails where one
// failed or fewer than so many were answered; load enough NUMBER waits for so
// many; load interlude ends them and does not ask; load counted HOST ends them and fails where micro has counted more or
// fewer requests of the host than were sent.
func loadCommand(ts *testscript.TestScript, neg bool, args []string) {
	key := ts.Getenv("MICRO_DATA")
	switch {
	case len(args) == 2 && args[0] == "start" && strings.HasPrefix(args[1], "tcp:"), len(args) == 3 && args[0] == "start" && args[2] == "passed":
		ctx, cancel := context.WithCancel(context.Background())
		l := &load{cancel: cancel}
		loads.Store(key, l)
		ts.Defer(cancel)
		for n := 1; n < 8; n += 2 { // odd ones keep no connection
			l.workers.Go(func() {
				if port, ok := strings.CutPrefix(args[1], "tcp:"); ok {
					l.work(ctx, n, "http://127.0.0.1:"+port+"/", args[1], &http.Transport{})
					return
				}
				l.work(ctx, n, "https://"+args[1]+"/", args[1], secureTransport("127.0.0.1:"+ts.Getenv("HTTPS"), n > 4))
			})
		}
	case len(args) == 3 && args[0] == "start" && args[2] == "http3":
		ctx, cancel := context.WithCancel(context.Background())
		l := &load{cancel: cancel}
		loads.Store(key, l)
		ts.Defer(cancel)
		for n := range 4 {
			l.workers.Go(func() {
				l.work(ctx, n, "https://"+args[1]+"/", args[1], &quicTransport{addr: "127.0.0.1:" + ts.Getenv("HTTPS"), fresh: n%2 == 1})
			})
		}
	case len(args) == 2 && args[0] == "start", len(args) == 3 && args[0] == "start" && args[2] == "tls":
		ctx, cancel := context.WithCancel(context.Background())
		l := &load{cancel: cancel}
		loads.Store(key, l)
		ts.Defer(cancel)
		for n := range 4 {
			l.workers.Go(func() { l.work(ctx, n, "http://127.0.0.1:"+ts.Getenv("HTTP")+"/", args[1], &http.Transport{}) })
		}
		for n := 4; n < 8 && len(args) == 3; n++ {
			l.workers.Go(func() {
				l.work(ctx, n, "https://"+args[1]+"/", args[1], secureTransport("127.0.0.1:"+ts.Getenv("HTTPS"), n >= 6))
			})
		}
	case len(args) == 2 && args[0] == "stop":
		v, ok := loads.LoadAndDelete(key)
		least, err := strconv.ParseInt(args[1], 10, 64)
		if !ok || err != nil {
			ts.Fatalf("no load is under way, or %q is no number", args[1])
		}
		l := v.(*load)
		l.reach(least)
		l.cancel()
		l.workers.Wait()
		ts.Logf("%d requests, %d failed", l.sent.Load(), len(l.failures))
		if len(l.failures) > 0 || l.sent.Load() < least {
			ts.Fatalf("%d requests, want at least %d; %d failed: %s", l.sent.Load(), least, len(l.failures), strings.Join(l.failures[:min(5, len(l.failures))], "; "))
		}
	case len(args) == 2 && args[0] == "enough":
		v, ok := loads.Load(key)
		least, err := strconv.ParseInt(args[1], 10, 64)
		if !ok || err != nil {
			ts.Fatalf("no load is under way, or %q is no number", args[1])
		}
		v.(*load).reach(least)
	case len(args) == 2 && args[0] == "counted":
		// What micro counted on a host must be exactly what was sent to it.
		v, ok := loads.LoadAndDelete(key)
		if !ok {
			ts.Fatalf("no load is under way")
		}
		l := v.(*load)
		l.cancel()
		l.workers.Wait()
		// The client has its last answer a moment before that is counted.
		sum := int64(-1)
		for deadline := time.Now().Add(patience); sum != l.sent.Load() && time.Now().Before(deadline); {
			ts.Check(ts.Exec("micro", "compare", args[1], "--json"))
			var cmp api.Comparison
			ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &cmp))
			sum = 0
			for _, r := range cmp.Releases {
				sum += int64(r.Requests)
			}
		}
		if sum != l.sent.Load() {
			ts.Fatalf("%d requests were sent, %d were counted", l.sent.Load(), sum)
		}
		ts.Logf("%d requests, all counted; %d failed", sum, len(l.failures))
	case len(args) == 1 && args[0] == "interlude":
		// What failed until here was meant to: the load is ended without a verdict on it.
		if v, ok := loads.LoadAndDelete(key); ok {
			v.(*load).cancel()
			v.(*load).workers.Wait()
		}
	default:
		ts.Fatalf("usage: load start HOST [tls], load stop MINIMUM, load interlude")
	}
}

// reach waits until so many requests have been sent, on a machine however slow, or five minutes.
func (l *load) reach(least int64) {
	for deadline := time.Now().Add(5 * time.Minute); l.sent.Load() < least && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond) // a poll, with an end
	}
}

// pace keeps a load from being a benchmark: what is asked is whether anything fails.
const pace = 2 * time.Millisecond

// secureTransport asks a listener by TLS, whoever vouches for it, in HTTP/1.1 or HTTP/2 alone.
func secureTransport(addr string, two bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!two)
	protocols.SetHTTP2(two)
	return &http.Transport{
		Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8)},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
}

func (l *load) work(ctx context.Context, n int, url, host string, transport http.RoundTripper) {
	if t, ok := transport.(*http.Transport); ok {
		t.DisableKeepAlives = n%2 == 1
	}
	defer transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: 20 * time.Second}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		method, body := http.MethodGet, ""
		if i%5 == 4 {
			method, body = http.MethodPost, strings.Repeat("x", 1000)
		}
		if err := once(client, method, url, host, body); err != nil {
			l.mu.Lock()
			l.failures = append(l.failures, fmt.Sprintf("%s by client %d: %v", method, n, err))
			l.mu.Unlock()
		}
		l.sent.Add(1)
	}
}

// once sends a request that is not given up when the load ends: it would count as failed.
func once(client http.Client, method, url, host, body string) error {
	if method == http.MethodPost {
		url += "post"
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s, %s", resp.Status, resp.Header.Get("X-Micro-Error"))
	}
	return nil
}
