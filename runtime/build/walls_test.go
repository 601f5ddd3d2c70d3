package build_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/network"
)

// A step goes out through the node's walls: it reaches neither the host's loopback, nor anything that
// listens at the gateway or on another address of the host. ADD, which the process itself carries out,
// is no way around them.
func TestWalls(t *testing.T) {
	state, err := os.MkdirTemp("/run", "mbn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	n, err := network.Open(network.Config{Name: "build-test", Subnet: netip.MustParsePrefix("10.93.16.0/24"), State: filepath.Join(state, "ns")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Destroy(); err != nil {
			t.Error(err)
		}
	})
	if _, err := n.Sync(nil); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *build.Config) {
		c.Resolvers = []netip.Addr{n.Gateway()}
		c.Sandbox = func(ctx context.Context, id string) (string, string, func() error, error) {
			s, err := n.NewSandbox(ctx, id)
			if err != nil {
				return "", "", nil, err
			}
			return s.NetNS, s.UserNS, s.Close, nil
		}
	})
	served := false
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served = true
		io.WriteString(w, "secret")
	})
	for what, addr := range map[string]string{
		"loopback": "127.0.0.1:0", "gateway": n.Gateway().String() + ":0", "an address of the host": hostAddr(t) + ":0",
	} {
		t.Run(what, func(t *testing.T) {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewUnstartedServer(handler)
			srv.Listener.Close()
			srv.Listener = l
			srv.Start()
			defer srv.Close()
			_, log, err := r.build(t, base+"RUN ifs && dial "+l.Addr().String()+"\n")
			wantError(t, err, cloud.DeployFailed, "RUN ifs")
			if strings.Contains(log, "connected") || !strings.Contains(log, "interface eth0") || !strings.Contains(log, "dial: ") {
				t.Error(log)
			}
			for _, dockerfile := range []string{"FROM scratch\nADD " + srv.URL + "/file /file\n", "FROM " + l.Addr().String() + "/x:1\n"} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second) // packets are dropped: nobody says no
				_, err := r.Build(ctx, runtime.Build{Name: "x", Source: r.source(t, map[string]string{"Dockerfile": dockerfile})})
				cancel()
				if err == nil {
					t.Error("built:", dockerfile)
				}
			}
			if served {
				t.Error("the server was reached")
			}
		})
	}
	r.assertClean(t)
}

// hostAddr is an address of this machine that is not loopback.
func hostAddr(t *testing.T) string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Flags&net.FlagLoopback != 0 {
			continue // on lo there are gateways of nodes too, which come and go
		}
		all, err := link.Addrs()
		if err != nil {
			continue // nor does the link stay
		}
		for _, a := range all {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				return p.Addr().String()
			}
		}
	}
	t.Fatal("this machine has no address but loopback's")
	return ""
}
