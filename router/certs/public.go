package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/cloud"
)

// kept is a certificate as the vault has it.
type kept struct {
	Chain []byte `json:"chain"` // PEM, the host's own first
	Key   []byte `json:"key"`   // PEM
}

func (k kept) open() (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(k.Chain, k.Key)
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		c.Leaf, err = x509.ParseCertificate(c.Certificate[0])
	}
	return &c, err
}

// Public has the certificates of public hosts that were ordered. All nodes have them from the vault.
type Public struct {
	Vault Vault
	Log   *slog.Logger

	byHost atomic.Pointer[map[string]*tls.Certificate]
	texts  atomic.Pointer[map[cloud.Host][]string] // answers by DNS, by domain
	loaded chan struct{}                           // closed once the vault has been read
	once   sync.Once
}

// NewPublic returns a Public, which is empty until Run has read the vault.
func NewPublic(v Vault, log *slog.Logger) *Public {
	p := &Public{Vault: v, Log: log, loaded: make(chan struct{})}
	p.byHost.Store(&map[string]*tls.Certificate{})
	p.texts.Store(&map[cloud.Host][]string{})
	return p
}

// Run follows the vault until ctx ends.
func (p *Public) Run(ctx context.Context) {
	var texts sync.WaitGroup
	defer texts.Wait()
	texts.Go(func() {
		p.Vault.Follow(ctx, kindText, func(values map[string][]byte, err error) {
			if err != nil {
				p.Log.Warn("cannot read the answers to questions of authorities", "err", err)
				return
			}
			p.showTexts(values)
		})
	})
	p.Vault.Follow(ctx, kindCertificate, func(values map[string][]byte, err error) {
		if err != nil {
			p.Log.Warn("cannot read the certificates of public hosts", "err", err)
			return
		}
		p.show(values)
		p.once.Do(func() { close(p.loaded) })
	})
}

// show puts certificates in the place of those that were there. One that cannot be read leaves the host the one that
// it had.
func (p *Public) show(values map[string][]byte) {
	old := *p.byHost.Load()
	next := make(map[string]*tls.Certificate, len(values))
	for key, value := range values {
		host := strings.TrimPrefix(key, kindCertificate)
		var k kept
		err := json.Unmarshal(value, &k)
		var c *tls.Certificate
		if err == nil {
			c, err = k.open()
		}
		if err != nil {
			p.Log.Warn("a certificate cannot be read", "host", host, "err", err)
			c = old[host]
		}
		if c != nil {
			next[host] = c
		}
	}
	p.byHost.Store(&next)
}

// Certificate returns that of a host, or of the wildcard that stands for it; nil where there is none. Right after the
// start it waits until the vault has been read.
func (p *Public) Certificate(ctx context.Context, name string) *tls.Certificate {
	select {
	case <-p.loaded:
	case <-ctx.Done():
		return nil
	}
	byHost := *p.byHost.Load()
	own := byHost[name]
	if _, parent, ok := strings.Cut(name, "."); ok {
		// A host's own certificate is not renewed while that of the wildcard serves.
		if wildcard := byHost["*."+parent]; own == nil || wildcard != nil && wildcard.Leaf.NotAfter.After(own.Leaf.NotAfter) {
			return wildcard
		}
	}
	return own
}

// lookup finds the certificate of an exact name, else of a wildcard of one label (RFC 9525, section 6.3).
func lookup(byHost map[string]*tls.Certificate, name string) *tls.Certificate {
	if c := byHost[name]; c != nil {
		return c
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return byHost["*."+parent]
	}
	return nil
}

// fresh returns a host's certificate in the vault if more than a third of its life is left; nil otherwise.
func (p *Public) fresh(ctx context.Context, h cloud.Host, now time.Time) *x509.Certificate {
	value, err := p.Vault.Get(ctx, kindCertificate+string(h))
	if value == nil || err != nil {
		return nil
	}
	var k kept
	if json.Unmarshal(value, &k) != nil {
		return nil
	}
	c, err := k.open()
	if err != nil || c.Leaf.NotAfter.Sub(now) <= c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)/3 {
		return nil
	}
	return c.Leaf
}

// keep stores a certificate, so that every node serves it.
func (p *Public) keep(ctx context.Context, h cloud.Host, k kept) (*x509.Certificate, error) {
	c, err := k.open()
	if err != nil {
		return nil, fmt.Errorf("the certificate that was issued is of no use: %w", err)
	}
	if err := c.Leaf.VerifyHostname(strings.Replace(string(h), "*", "x", 1)); err != nil {
		return nil, fmt.Errorf("the certificate that was issued is for something else: %w", err)
	}
	b, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	return c.Leaf, p.Vault.Put(ctx, kindCertificate+string(h), b)
}
