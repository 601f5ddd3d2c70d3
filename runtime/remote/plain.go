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

// withPlain lets registries of this very machine that may speak plain HTTP do so in every way there is.
// containerd falls back where a TLS greeting is answered in plain text, not where it is hung up on.
func withPlain(hosts docker.RegistryHosts) docker.RegistryHosts {
	return func(name string) ([]docker.RegistryHost, error) {
		all, err := hosts(name)
		for _, h := range all {
			// Whoever is configured to speak TLS has a transport without containerd's fall-back.
			if _, strict := h.Client.Transport.(*http.Transport); !strict && docker.IsLocalhost(h.Host) {
				h.Client.Transport = &plain{next: h.Client.Transport, host: h.Host}
			}
		}
		return all, err
	}
}

// plain sends requests for one host without TLS once it has hung up on a TLS greeting.
type plain struct {
	next http.RoundTripper
	host string
	only atomic.Bool // no TLS any more
}

func (p *plain) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != p.host {
		return p.next.RoundTrip(r)
	}
	if !p.only.Load() {
		var hungUp atomic.Bool // the greeting may fail after another connection has served the request
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
