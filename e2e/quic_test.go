package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/rogpeppe/go-internal/testscript"
)

// quicTransport asks a listener by HTTP/3, one request after the other, whoever vouches for it.
type quicTransport struct {
	addr  string
	fresh bool // begins a connection every ten requests
	roots *x509.CertPool
	n     int
	*http3.Transport
}

func (t *quicTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.Transport != nil && t.fresh && t.n%10 == 0 {
		t.CloseIdleConnections()
	}
	t.n++
	if t.Transport == nil {
		t.Transport = &http3.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: t.roots == nil, RootCAs: t.roots},
			Dial: func(ctx context.Context, _ string, tlsCfg *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
				return quic.DialAddr(ctx, t.addr, tlsCfg, cfg)
			},
		}
	}
	return t.Transport.RoundTrip(r)
}

// CloseIdleConnections ends the connection. No request is under way.
func (t *quicTransport) CloseIdleConnections() {
	if t.Transport != nil {
		_ = t.Close()
		t.Transport = nil
	}
}

// http3 [-ca FILE] [-d BODY] PORT HOST[/PATH] asks the script's node by HTTP/3 at a UDP port, and prints the protocol, the
// status, the header and the body.
func http3Command(ts *testscript.TestScript, neg bool, args []string) {
	t, method, body := &quicTransport{}, http.MethodGet, ""
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-ca":
			b, err := os.ReadFile(ts.MkAbs(args[1]))
			ts.Check(err)
			t.roots = x509.NewCertPool()
			t.roots.AppendCertsFromPEM(b)
		case "-d":
			method, body = http.MethodPost, args[1]
		default:
			ts.Fatalf("unknown flag %s", args[0])
		}
		args = args[2:]
	}
	if len(args) != 2 {
		ts.Fatalf("usage: http3 [-ca FILE] [-d BODY] PORT HOST[/PATH]")
	}
	t.addr = "127.0.0.1:" + args[0]
	defer t.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "https://"+args[1], strings.NewReader(body))
	ts.Check(err)
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		fmt.Fprintln(ts.Stderr(), err)
		if !neg {
			ts.Fatalf("%v", err)
		}
		return
	}
	defer resp.Body.Close()
	if neg {
		ts.Fatalf("answered %s", resp.Status)
	}
	fmt.Fprintln(ts.Stdout(), resp.Proto, resp.Status)
	ts.Check(resp.Header.Write(ts.Stdout()))
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
}
