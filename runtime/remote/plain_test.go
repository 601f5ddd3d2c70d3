package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// curt is a listener that closes connections at TLS handshakes; if it is rude, by a reset.
type curt struct {
	net.Listener
	rude bool
}

func (l curt) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &curtConn{Conn: c, rude: l.rude}, nil
}

type curtConn struct {
	net.Conn
	rude bool
}

func (c *curtConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && b[0] == 0x16 { // a TLS handshake record (RFC 8446, section 5.1)
		if tcp, ok := c.Conn.(*net.TCPConn); ok && c.rude {
			err = tcp.SetLinger(0)
		}
		c.Conn.Close()
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	return n, err
}

// TestPlainWhereTLSIsHungUpOn checks that plain HTTP is used only for registries on this machine that close TLS
// handshakes, not for those configured for TLS or on other machines.
func TestPlainWhereTLSIsHungUpOn(t *testing.T) {
	for _, rude := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int32
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			body, err := io.ReadAll(r.Body)
			fmt.Fprint(w, string(body), err)
		}))
		srv.Listener.Close()
		srv.Listener = curt{l, rude}
		srv.Start()
		defer srv.Close()
		addr := l.Addr().String()
		for range 2 { // the second request skips TLS
			h := hostOf(t, Config{CertsDir: t.TempDir()}, addr)
			for range 2 {
				if got, err := post(h, addr); err != nil || got != "hello<nil>" {
					t.Errorf("rude %v: %q, %v", rude, got, err)
				}
			}
		}
		asked.Store(0)
		certs := t.TempDir()
		toml := fmt.Sprintf("server = \"https://%[1]s\"\n[host.\"https://%[1]s\"]\n  skip_verify = true\n", addr)
		if err := os.MkdirAll(filepath.Join(certs, addr), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(certs, addr, "hosts.toml"), []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := post(hostOf(t, Config{CertsDir: certs}, addr), addr); err == nil || asked.Load() > 0 {
			t.Errorf("rude %v, configured for TLS: %q, asked %d times", rude, got, asked.Load())
		}
		if _, err := post(hostOf(t, Config{CertsDir: t.TempDir()}, "localhost:1"), addr); err == nil || asked.Load() > 0 {
			t.Errorf("rude %v, redirected there: %v, asked %d times", rude, err, asked.Load())
		}
	}
	certs := t.TempDir()
	toml := "[host.\"http://192.0.2.1:5000\"]\n  skip_verify = true\n"
	if err := os.MkdirAll(filepath.Join(certs, "192.0.2.1:5000"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, "192.0.2.1:5000", "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"192.0.2.1:5000", "registry.example.com"} {
		if _, ours := hostOf(t, Config{CertsDir: certs}, name).Client.Transport.(*plain); ours {
			t.Errorf("plain HTTP is allowed for %s", name)
		}
	}
}

func hostOf(t *testing.T, c Config, name string) docker.RegistryHost {
	t.Helper()
	all, err := c.Hosts(t.Context())(name)
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return all[0]
}

// post sends a request to an address, as to a registry.
func post(h docker.RegistryHost, addr string) (string, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, h.Scheme+"://"+addr+h.Path+"/", strings.NewReader("hello"))
	if err != nil {
		return "", err
	}
	resp, err := h.Client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
