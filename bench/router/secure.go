package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/router/certs"
)

// newCertificate writes a certificate and its key into one file, as HAProxy reads it, and the key beside it.
func newCertificate(dir string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	file := filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(filepath.Join(dir, "cert.key"), keyText, 0o600); err != nil {
		return "", err
	}
	return file, os.WriteFile(file, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyText...), 0o600)
}

// terminate returns the router's TLS, as a node has it.
func terminate(cert string) (*certs.Server, error) {
	log := slog.New(slog.DiscardHandler)
	return certs.NewServer(certs.ServerConfig{
		Files: certs.NewFiles(certs.FilesConfig{Paths: []string{cert}, Log: log}), Secret: []byte("secret"),
		Host: func(bool, string) (certs.Clients, bool) { return certs.Clients{}, true }, Protocols: router.Protocols(), Log: log, Now: time.Now,
	})
}

// clientTLS is what clients use, the same for all proxies.
func clientTLS(protocols ...string) *tls.Config {
	return &tls.Config{
		ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: protocols,
	}
}

// connect connects a client to a proxy, by a way of HTTP/1.1.
func connect(ctx context.Context, p *proxy, w way) (net.Conn, error) {
	if w == plain {
		return new(net.Dialer).DialContext(ctx, "tcp", p.addr)
	}
	return (&tls.Dialer{Config: clientTLS("http/1.1")}).DialContext(ctx, "tcp", p.secure)
}

// streams is how many requests a connection of HTTP/2 or HTTP/3 has at a time.
const streams = 10

// newMultiplexed returns what sends a request over a connection of HTTP/2 or HTTP/3 that stays.
func newMultiplexed(p *proxy, l load, want int) (send func() error, end func()) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	tcp := &http.Transport{Protocols: protocols, TLSClientConfig: clientTLS("h2"), DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", p.secure)
	}}
	var t http.RoundTripper = tcp
	end = tcp.CloseIdleConnections
	if l.way == byHTTP3 {
		udp := &http3.Transport{TLSClientConfig: clientTLS(), DisableCompression: true, Dial: func(ctx context.Context, _ string, tlsCfg *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, p.secure, tlsCfg, cfg)
		}}
		t, end = udp, func() { _ = udp.Close() }
	}
	body := strings.Repeat("x", l.upload)
	return func() error {
		method, content := http.MethodGet, io.Reader(nil)
		if l.upload > 0 {
			method, content = http.MethodPost, strings.NewReader(body)
		}
		r, err := http.NewRequest(method, "https://"+host+l.path, content)
		if err != nil {
			return err
		}
		r.Header = http.Header{
			"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) bench"}, "Accept": {"text/html,*/*"}, "Accept-Encoding": {"gzip, deflate"}, "Accept-Language": {"en-GB,en;q=0.5"}, "Cookie": {"session=0123456789abcdef0123456789abcdef"},
		}
		res, err := t.RoundTrip(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || n != int64(want)) {
			err = fmt.Errorf("answer %d with %d bytes", res.StatusCode, n)
		}
		return err
	}, end
}

// idle opens connections by TLS, with one request on each.
func idle(ctx context.Context, p *proxy, n int) (closeAll func(), err error) {
	var conns []net.Conn
	closeAll = func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	for range n {
		c, err := connect(ctx, p, byTLS)
		if err != nil {
			closeAll()
			return nil, err
		}
		conns = append(conns, c)
		if err := exchange(c, bufio.NewReader(c), []byte("GET /120 HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), 120); err != nil {
			closeAll()
			return nil, err
		}
	}
	return closeAll, nil
}
