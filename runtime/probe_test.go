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

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

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
		err := runtime.Probe(t.Context(), "", c.check, c.addr)
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

// grpcApp is a gRPC server whose health a test sets.
func grpcApp(t *testing.T) (netip.AddrPort, *health.Server, *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return netip.MustParseAddrPort(l.Addr().String()), h, s
}

// TestProbeGRPC asks a real gRPC server.
func TestProbeGRPC(t *testing.T) {
	check := cloud.Check{Type: cloud.CheckGRPC}
	f := func(addr netip.AddrPort, want string) {
		t.Helper()
		err := runtime.Probe(t.Context(), cloud.ProtocolHTTP2, check, addr)
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	bare, h, s := grpcApp(t)
	f(bare, "does not have the service grpc.health.v1.Health")
	s.Stop()
	f(bare, fmt.Sprintf("does not answer on port %d", bare.Port()))
	l, err := net.Listen("tcp", bare.String())
	if err != nil {
		t.Fatal(err)
	}
	s = grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	go func() { _ = s.Serve(l) }()
	defer s.Stop()
	f(bare, "")
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	f(bare, "answered NOT_SERVING")
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN)
	f(bare, "serving status 3")
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	f(bare, "serving status 0")
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
	f(bare, "")

	// A server that speaks HTTP/1.1 alone is told of, and one that hangs.
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	f(netip.MustParseAddrPort(web.Listener.Addr().String()), "it must speak HTTP/2 in cleartext")
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	check.Timeout = cloud.Duration(50 * time.Millisecond)
	f(netip.MustParseAddrPort(deaf.Addr().String()), "had no answer within 50ms")
}

// TestProbeHTTP2: the HTTP check of an app that speaks HTTP/2 is in HTTP/2.
func TestProbeHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols.SetHTTP1(true)
	server.Start()
	defer server.Close()
	at, check := netip.MustParseAddrPort(server.Listener.Addr().String()), cloud.Check{Type: cloud.CheckHTTP, Path: "/"}
	if err := runtime.Probe(t.Context(), cloud.ProtocolHTTP2, check, at); err != nil {
		t.Error(err)
	}
	if err := runtime.Probe(t.Context(), "", check, at); err == nil {
		t.Error("an app that speaks HTTP/1.1 is asked in another protocol")
	}
}
