package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/protoduction/micro/cloud"
)

// challengeLife is how long the answer to a challenge is kept, where nobody removes it: its order has ended by then.
const challengeLife = 15 * time.Minute

// solver answers challenges of one kind. Which node the authority asks nobody knows, so that the answer goes to the
// vault, where all nodes look.
type solver struct {
	vault Vault
	key   func(acme.Challenge) string
	value func(acme.Challenge) ([]byte, error)
	begun func(kind string) // is told which kind of challenge is tried
}

var _ acmez.Solver = (*solver)(nil)

// Present implements acmez.Solver.
func (s *solver) Present(ctx context.Context, c acme.Challenge) error {
	s.begun(c.Type)
	value, err := s.value(c)
	if err != nil {
		return err
	}
	return s.vault.PutFor(ctx, s.key(c), value, challengeLife)
}

// CleanUp implements acmez.Solver.
func (s *solver) CleanUp(ctx context.Context, c acme.Challenge) error {
	return s.vault.Delete(context.WithoutCancel(ctx), s.key(c))
}

func httpSolver(v Vault, begun func(string)) *solver {
	return &solver{v, func(c acme.Challenge) string { return kindToken + c.Token },
		func(c acme.Challenge) ([]byte, error) {
			return json.Marshal(token{c.Identifier.Value, c.KeyAuthorization})
		}, begun}
}

func alpnSolver(v Vault, begun func(string)) *solver {
	return &solver{v, func(c acme.Challenge) string { return kindALPN + c.Identifier.Value },
		func(c acme.Challenge) ([]byte, error) { return json.Marshal(c) }, begun}
}

// dnsSolver answers by the cloud's DNS servers.
type dnsSolver struct {
	*solver
	public *Public
}

var _ acmez.Waiter = dnsSolver{}

func newDNSSolver(p *Public, begun func(string)) dnsSolver {
	return dnsSolver{&solver{p.Vault, textKey, func(c acme.Challenge) ([]byte, error) { return []byte(c.DNS01KeyAuthorization()), nil }, begun}, p}
}

// textKey has the token in it, because an order for a domain and its wildcard has two answers at the same name.
func textKey(c acme.Challenge) string { return kindText + c.Identifier.Value + "/" + c.Token }

// textsKnown is how long a node may take to see what was written to the vault.
const textsKnown = 10 * time.Second

// Wait implements acmez.Waiter: DNS servers answer by what the nodes have seen of the vault.
func (s dnsSolver) Wait(ctx context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeout(ctx, textsKnown)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !slices.Contains(s.public.Texts(cloud.Host(c.Identifier.Value)), c.DNS01KeyAuthorization()) {
		select {
		case <-ctx.Done():
			return cloud.Errorf(cloud.Unavailable, "the answer to the authority's question does not show in the store: %w", ctx.Err())
		case <-t.C:
		}
	}
	return nil
}

// Texts returns what the questions of authorities about a domain are answered with by DNS. It asks nobody.
func (p *Public) Texts(domain cloud.Host) []string { return (*p.texts.Load())[domain] }

// showTexts puts the answers by DNS in the place of those that were there.
func (p *Public) showTexts(values map[string][]byte) {
	texts := map[cloud.Host][]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		domain, _, _ := strings.Cut(strings.TrimPrefix(key, kindText), "/")
		texts[cloud.Host(domain)] = append(texts[cloud.Host(domain)], string(values[key]))
	}
	p.texts.Store(&texts)
}

// alpnCertificate returns what a TLS-ALPN-01 challenge of a host is answered with; nil where there is none.
func (p *Public) alpnCertificate(ctx context.Context, host string) (*tls.Certificate, error) {
	value, err := p.Vault.Get(ctx, kindALPN+host)
	if value == nil || err != nil {
		return nil, err
	}
	var c acme.Challenge
	if err := json.Unmarshal(value, &c); err != nil {
		return nil, err
	}
	return acmez.TLSALPN01ChallengeCert(c)
}

// token is what HTTP-01 is answered with, and for which host.
type token struct {
	Host   string `json:"host"`
	Answer string `json:"answer"`
}

// HTTPAnswer returns what the path /.well-known/acme-challenge/TOKEN of a host is answered with (RFC 8555, section
// 8.3); "" where no order of ours has that token.
func (p *Public) HTTPAnswer(ctx context.Context, host, name string) string {
	if len(name) > 128 || name == "" || strings.Trim(name, tokenChars) != "" {
		return ""
	}
	value, err := p.Vault.Get(ctx, kindToken+name)
	if err != nil {
		p.Log.Warn("a challenge cannot be answered", "host", host, "err", err)
	}
	var t token
	if value == nil || json.Unmarshal(value, &t) != nil || t.Host != host {
		return ""
	}
	return t.Answer
}

// tokenChars are those of base64url.
const tokenChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
