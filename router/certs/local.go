package certs

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Sealer makes secrets unreadable before they are stored. place names where a secret is kept.
type Sealer interface {
	Seal(place string, secret []byte) (cloud.Sealed, error)
	Open(place string, s cloud.Sealed) ([]byte, error)
}

// States are the cloud's State, and how it is changed.
type States interface {
	State() *cloud.State
	// Update applies what change returns. change may run again; the State after is returned.
	Update(ctx context.Context, change func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
}

// LocalConfig is what a Local needs.
type LocalConfig struct {
	States States
	Keys   Sealer
	Now    func() time.Time
}

// Local issues certificates for internal names, by the cloud's own authority. The authority is made when it is
// first needed.
type Local struct {
	LocalConfig

	mu     sync.Mutex
	issuer *issuer
	leaves map[string]*tls.Certificate
}

// NewLocal returns a Local.
func NewLocal(cfg LocalConfig) *Local {
	return &Local{LocalConfig: cfg, leaves: map[string]*tls.Certificate{}}
}

// authorityPlace is what the authority's key is sealed for.
const authorityPlace = cloud.LocalAuthorityPlace

// maxLeaves is how many certificates are kept. One more takes another one's place, which is made again when a
// client asks for it.
const maxLeaves = 4096

// Authority returns the cloud's authority, which is made where there is none.
func (l *Local) Authority(ctx context.Context) (*cloud.Authority, error) {
	i, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	return i.from, nil
}

// open returns the issuer of the cloud's authority.
func (l *Local) open(ctx context.Context) (*issuer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	a, ok := l.States.State().Authority(now)
	if !ok {
		var err error
		if a, err = l.make(ctx, now); err != nil {
			return nil, err
		}
	}
	if l.issuer != nil && l.issuer.from == a {
		return l.issuer, nil
	}
	key, err := l.Keys.Open(authorityPlace, a.PrivateKey)
	if err != nil {
		return nil, err
	}
	i, err := newIssuer(a, key)
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "cannot open the cloud's certificate authority: %w", err)
	}
	l.issuer = i
	clear(l.leaves)
	return i, nil
}

// make gives the cloud an authority. Where another node is quicker, its authority is the one.
func (l *Local) make(ctx context.Context, now time.Time) (*cloud.Authority, error) {
	made, key, err := newAuthority(l.States.State().Settings().Domain, now)
	if err == nil {
		made.PrivateKey, err = l.Keys.Seal(authorityPlace, key)
	}
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "cannot make a certificate authority: %w", err)
	}
	s, err := l.States.Update(ctx, func(s *cloud.State) ([]cloud.Change, error) { return s.Authorize(made, now), nil })
	if err != nil {
		return nil, err
	}
	a, ok := s.Authority(now)
	if !ok {
		return nil, cloud.Errorf(cloud.Unavailable, "the private domain has changed while its certificate authority was made")
	}
	return a, nil
}

// Covers says whether the authority may vouch for a name, in lower case without a trailing dot.
func (l *Local) Covers(name string) bool {
	return name == localhost || strings.HasSuffix(name, "."+localhost) || l.States.State().Settings().Domain.Contains(cloud.Host(name))
}

// Certificate returns the certificate of a name that is covered; for "" that of a client that asks for no name,
// as clients do that have been given an address.
func (l *Local) Certificate(ctx context.Context, name string) (*tls.Certificate, error) {
	i, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.leaves[name]; c != nil && c.Leaf.NotAfter.Sub(now) > leafLife/3 && l.issuer == i {
		return c, nil
	}
	names, ips := []string{name}, []net.IP(nil)
	if name == "" {
		names, ips = []string{string(i.from.Domain), localhost}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	c, err := i.issue(names, ips, now)
	if err != nil {
		return nil, err
	}
	if len(l.leaves) >= maxLeaves {
		for other := range l.leaves {
			delete(l.leaves, other)
			break
		}
	}
	l.leaves[name] = c
	return c, nil
}
