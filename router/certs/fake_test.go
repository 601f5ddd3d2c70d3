package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// fakeStates is a State in memory.
type fakeStates struct {
	mu     sync.Mutex
	state  *cloud.State
	writes int
	fail   error
	before func() // runs once before a write: another node is quicker
}

func newStates(domain cloud.Domain) *fakeStates {
	return &fakeStates{state: cloud.NewState().Apply(1, []cloud.Change{cloud.Put(&cloud.Settings{Domain: domain})})}
}

func (f *fakeStates) State() *cloud.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *fakeStates) Update(_ context.Context, change func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error) {
	if before := f.before; before != nil {
		f.before = nil
		before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	changes, err := change(f.state)
	if err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		f.writes++
		f.state = f.state.Apply(f.state.Rev()+1, changes)
	}
	return f.state, nil
}

// fakeKeys seal so that a test sees what was sealed for what.
type fakeKeys struct{}

func (fakeKeys) Seal(place string, secret []byte) (cloud.Sealed, error) {
	return cloud.Sealed(base64.StdEncoding.EncodeToString([]byte(place + "\x00" + string(secret)))), nil
}

func (fakeKeys) Open(place string, s cloud.Sealed) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(string(s))
	secret, ok := bytes.CutPrefix(b, []byte(place+"\x00"))
	if err != nil || !ok {
		return nil, errors.New("sealed for another place")
	}
	return secret, nil
}

// clock is a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// node is what a node has: its own Local and Server over the cloud's State.
type node struct {
	*fakeStates
	*clock
	local  *Local
	server *Server
	known  bool // the router knows every host
}

func newTestNode(t *testing.T, s *fakeStates, c *clock) *node {
	t.Helper()
	n := &node{fakeStates: s, clock: c, local: NewLocal(LocalConfig{States: s, Keys: fakeKeys{}, Now: c.now})}
	var err error
	n.server, err = NewServer(ServerConfig{
		Local: n.local, Public: NewPublic(&fakeVault{}, slog.New(slog.DiscardHandler)), Files: NewFiles(FilesConfig{Log: slog.New(slog.DiscardHandler)}),
		Host:   func(bool, string) (Clients, bool) { return Clients{}, n.known },
		Secret: []byte("secret"), Protocols: []string{"http/1.1"}, Log: slog.New(slog.DiscardHandler), Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.server.Public.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return n
}

// roots trust the cloud's authority.
func (n *node) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	a, err := n.local.Authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// connect makes a handshake with the node, and sends a byte each way, so that session tickets arrive.
func (n *node) connect(t *testing.T, internal bool, cfg *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	cfg.Time = n.now
	failed := make(chan error, 1)
	go func() {
		c, _, err := n.server.Handshake(t.Context(), server, internal)
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		failed <- err
	}()
	c := tls.Client(client, cfg)
	err := c.HandshakeContext(t.Context())
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	client.Close()
	<-failed
	return c.ConnectionState(), err
}

// fakeVault is a vault in memory, without leases.
type fakeVault struct {
	mu     sync.Mutex
	values map[string][]byte
	locked map[string]bool
	follow []func()
}

func (v *fakeVault) Get(_ context.Context, key string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.values[key], nil
}

func (v *fakeVault) List(_ context.Context, under string) (map[string][]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := map[string][]byte{}
	for k, value := range v.values {
		if strings.HasPrefix(k, under) {
			all[k] = value
		}
	}
	return all, nil
}

func (v *fakeVault) Put(_ context.Context, key string, value []byte) error {
	v.mu.Lock()
	if v.values == nil {
		v.values = map[string][]byte{}
	}
	v.values[key] = value
	follow := v.follow
	v.mu.Unlock()
	for _, f := range follow {
		f()
	}
	return nil
}

func (v *fakeVault) PutFor(ctx context.Context, key string, value []byte, _ time.Duration) error {
	return v.Put(ctx, key, value)
}

func (v *fakeVault) Delete(_ context.Context, keys ...string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range keys {
		delete(v.values, k)
	}
	return nil
}

func (v *fakeVault) Follow(ctx context.Context, under string, changed func(map[string][]byte, error)) {
	show := func() { changed(v.List(ctx, under)) }
	v.mu.Lock()
	v.follow = append(v.follow, show)
	v.mu.Unlock()
	show()
	<-ctx.Done()
}

func (v *fakeVault) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.locked[name] {
		return nil, nil, cloud.Errorf(cloud.Conflict, "locked")
	}
	if v.locked == nil {
		v.locked = map[string]bool{}
	}
	v.locked[name] = true
	return ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.locked, name)
	}, nil
}
