package remote

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"

	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// withPlain allows plain HTTP for registries on this machine that close the connection at a TLS handshake. containerd
// itself falls back to plain HTTP only if the handshake is answered in plain text.
func withPlain(hosts docker.RegistryHosts) docker.RegistryHosts {
	return func(name string) ([]docker.RegistryHost, error) {
		all, err := hosts(name)
		for _, h := range all {
			// A host that is configured for TLS has a transport without containerd's fallback.
			if _, strict := h.Client.Transport.(*http.Transport); !strict && docker.IsLocalhost(h.Host) {
				h.Client.Transport = &plain{next: h.Client.Transport, host: h.Host}
			}
		}
		return all, err
	}
}

// plain sends requests to a host without TLS after the host has closed a connection at the TLS handshake.
type plain struct {
	next http.RoundTripper
	host string
	only atomic.Bool // don't try TLS any more
}

func (p *plain) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != p.host {
		return p.next.RoundTrip(r)
	}
	if !p.only.Load() {
		var hungUp atomic.Bool // atomic: the handshake may fail after another connection has served the request
		ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			hungUp.Store(errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
		}})
		resp, err := p.next.RoundTrip(r.WithContext(ctx))
		if err == nil || !hungUp.Load() || r.Body != nil && r.GetBody == nil {
			return resp, err
		}
		p.only.Store(true)
	}
	again := r.Clone(r.Context())
	again.URL.Scheme = "http"
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		again.Body = body
	}
	return p.next.RoundTrip(again)
}
