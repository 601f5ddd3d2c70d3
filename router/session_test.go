package router

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// secured makes a listener's handshake by TLS.
func secured(t testing.TB, protocols ...string) func(context.Context, net.Conn, bool) (net.Conn, string, error) {
	t.Helper()
	config := serverTLS(t, protocols...)
	return func(ctx context.Context, c net.Conn, _ bool) (net.Conn, string, error) {
		s := tls.Server(c, config)
		err := s.HandshakeContext(ctx)
		return s, s.ConnectionState().NegotiatedProtocol, err
	}
}

func serverTLS(t testing.TB, protocols ...string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{shopHost}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: protocols}
}

// TestHandshake: what is spoken on a connection is agreed on after it was accepted, and everything works on it
// as without.
func TestHandshake(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{IdleTimeout: cloud.Duration(3 * time.Second), KeepaliveTimeout: cloud.Duration(3 * time.Second)})
	f.shop(backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/big" {
			_, _ = w.Write(make([]byte, 2<<20))
			return
		}
		fmt.Fprintf(w, "%d %s", len(b), r.Header.Get("X-Forwarded-Proto"))
	}))
	addr := f.listen(Listener{Internal: true, Scheme: "https", Handshake: secured(t, "http/1.1", "other")})
	tlsDial := func(protocols ...string) *peer {
		p := dial(t, addr)
		c := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		p.Conn = c
		p.r.Reset(c)
		return p
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		p := tlsDial(protocols...)
		for range 2 {
			if _, got := p.send(get("/", shopHost)).answer("GET"); got != "0 https" {
				t.Errorf("%v: got %q", protocols, got)
			}
			for _, n := range []int{10, 100_000, 1 << 20} {
				p.send(request("POST", "/", shopHost, fmt.Sprintf("Content-Length: %d", n)) + strings.Repeat("x", n))
				if _, got := p.answer("POST"); got != fmt.Sprintf("%d https", n) {
					t.Errorf("%v: %d bytes: got %q", protocols, n, got)
				}
			}
			if _, got := p.send(get("/big", shopHost)).answer("GET"); len(got) != 2<<20 {
				t.Errorf("%v: got %d bytes", protocols, len(got))
			}
		}
		if !p.closed() {
			t.Errorf("%v: an idle connection stays open", protocols)
		}
	}
	if p := tlsDial("other"); !p.closed() {
		t.Error("a protocol that nobody speaks is served")
	}
}

// TestSlowHandshake: a handshake has a time of its own, and neither it nor a shutdown waits for a silent client.
func TestSlowHandshake(t *testing.T) {
	f := newFront(t, Config{}, cloud.Limits{HandshakeTimeout: cloud.Duration(300 * time.Millisecond)})
	addr := f.listen(Listener{Internal: true, Handshake: secured(t)})
	rude := f.listen(Listener{Internal: true, Handshake: func(_ context.Context, c net.Conn, _ bool) (net.Conn, string, error) {
		b := make([]byte, 1)
		_, err := c.Read(b) // whatever the context says
		return c, "", err
	}})
	for _, a := range []string{addr, rude} {
		begun := time.Now()
		if !dial(t, a).closed() || time.Since(begun) < 200*time.Millisecond {
			t.Errorf("closed after %v", time.Since(begun))
		}
	}
	f = newFront(t, Config{}, cloud.Limits{HandshakeTimeout: cloud.Duration(time.Hour)})
	p := dial(t, f.listen(Listener{Internal: true, Handshake: secured(t)}))
	eventually(t, func() bool { return f.Stats().Connections == 1 })
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if !p.closed() {
		t.Error("open after the shutdown")
	}
}
