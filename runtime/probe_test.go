package runtime_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

func TestProbe(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/slow":
			<-r.Context().Done()
		case "/mute":
			w.WriteHeader(http.StatusInternalServerError)
		case "/dead":
			panic(http.ErrAbortHandler)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		default:
			http.Error(w, "the database is away\x1b[31m", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	for _, c := range []struct {
		check cloud.Check
		addr  netip.AddrPort
		want  string
	}{
		{cloud.Check{Type: cloud.CheckProcess}, closed, ""},
		{cloud.Check{Type: cloud.CheckPort}, at, ""},
		{cloud.Check{Type: cloud.CheckPort}, closed, fmt.Sprintf("does not answer on port %d", closed.Port())},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/ok"}, at, ""},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/moved"}, at, `answered 302, a redirect to "/ok": it must answer 200, because checks don't follow redirects`},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/mute"}, at, fmt.Sprintf("GET /mute on port %d answered 500", at.Port())},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/dead"}, at, fmt.Sprintf("GET /dead on port %d failed: EOF", at.Port())},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/"}, at, `answered 503: "the database is away\x1b[31m"`},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/slow", Timeout: cloud.Duration(50 * time.Millisecond)}, at, "had no answer within 50ms"},
		{cloud.Check{Type: cloud.CheckHTTP, Path: "/"}, closed, fmt.Sprintf("does not answer on port %d", closed.Port())},
	} {
		err := runtime.Probe(t.Context(), c.check, c.addr)
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.HasSuffix(got, c.want) && c.want != "" {
			t.Errorf("%+v: %v, want %q", c.check, err, c.want)
		}
		// ECONNREFUSED must be recognisable: whyNotReady uses it to detect an app that listens on IPv6 only.
		if c.addr == closed && err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%+v: %v is not ECONNREFUSED", c.check, err)
		}
	}
}

func TestDescribeListeners(t *testing.T) {
	for listening, want := range map[string]string{
		"":                          "listens on no port: it must listen on 0.0.0.0:3000",
		"127.0.0.1:3000":            "listens on 127.0.0.1:3000 only: it must listen on 0.0.0.0:3000",
		"[::1]:3000":                "listens on [::1]:3000 only: it must listen on 0.0.0.0:3000",
		"[::]:3000":                 "listens on [::]:3000 only: it must listen on 0.0.0.0:3000",
		"0.0.0.0:80 0.0.0.0:80":     "listens on 0.0.0.0:80 instead: it must listen on 0.0.0.0:$PORT, and PORT is 3000 (set another with EXPOSE, or x-micro: port)",
		"0.0.0.0:80 127.0.0.1:3000": "listens on 127.0.0.1:3000 only: it must listen on 0.0.0.0:3000",
	} {
		var at []runtime.Listener
		for l := range strings.FieldsSeq(listening) {
			at = append(at, netip.MustParseAddrPort(l))
		}
		if got := runtime.Elsewhere(3000, at); got != want {
			t.Errorf("%q: %q, want %q", listening, got, want)
		}
	}
}
