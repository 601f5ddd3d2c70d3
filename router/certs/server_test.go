package certs

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// TestInternalNames: a client of an internal listener gets a certificate for every name that the authority covers.
func TestInternalNames(t *testing.T) {
	n := newTestNode(t, newStates("micro.test"), newClock())
	roots := n.roots(t)
	for _, c := range []struct {
		name string
		want string // of the alert; "" for a handshake that succeeds
	}{
		{"shop.micro.test", ""},
		{"SHOP.Micro.Test", ""},
		{"micro.test", ""},
		{"nobody.qa.micro.test", ""},
		{"shop.localhost", ""},
		{"127.0.0.1", ""}, // no name is sent
		{"www.example.com", "unrecognized name"},
		{"micro.test.example.com", "unrecognized name"},
		{"a_b-.micro.test", "unrecognized name"},
	} {
		_, err := n.connect(t, true, &tls.Config{ServerName: c.name, RootCAs: roots})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	_, err := n.connect(t, true, &tls.Config{ServerName: "shop.micro.test", RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: got %v", err)
	}
	state, err := n.connect(t, true, &tls.Config{ServerName: "shop.micro.test", RootCAs: roots, NextProtos: []string{"other", "http/1.1"}})
	if err != nil || state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
		t.Errorf("got %v, %q, TLS %x", err, state.NegotiatedProtocol, state.Version)
	}
}

// TestPublicNames: on a public listener internal names, unknown ones and none at all are refused alike.
func TestPublicNames(t *testing.T) {
	n := newTestNode(t, newStates("micro.test"), newClock())
	want := ""
	for _, name := range []string{"shop.micro.test", "api.micro.test", "nobody.example.com", "localhost", "127.0.0.1"} {
		_, err := n.connect(t, false, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil || want != "" && err.Error() != want {
			t.Fatalf("%s: got %v, want %s", name, err, want)
		}
		want = err.Error()
	}
	if !strings.Contains(want, "unrecognized name") {
		t.Errorf("got %s", want)
	}
}

// TestResumption: a session is resumed by another node of the cloud, and by one that was started anew, for 12 hours
// at least and 24 at most. What was resumed on an internal listener is refused on a public one.
func TestResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s, c := newStates("micro.test"), newClock()
		a, b := newTestNode(t, s, c), newTestNode(t, s, c)
		cfg := &tls.Config{ServerName: "shop.micro.test", RootCAs: a.roots(t), MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		resumed := func(n *node) bool {
			t.Helper()
			state, err := n.connect(t, true, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return state.DidResume
		}
		if resumed(a) || !resumed(b) || !resumed(a) {
			t.Errorf("TLS %x: sessions are not resumed as they should be", version)
		}
		if _, err := a.connect(t, false, cfg.Clone()); err == nil {
			t.Errorf("TLS %x: an internal session is resumed on a public listener", version)
		}
		resumed(a) // a client forgets its session when it is refused
		c.advance(ticketEpoch - 1)
		for _, n := range []*node{a, b} {
			if err := n.server.rotate(); err != nil {
				t.Fatal(err)
			}
		}
		if !resumed(a) {
			t.Errorf("TLS %x: not resumed after less than 12 hours", version)
		}
		old := &tls.Config{ServerName: cfg.ServerName, RootCAs: cfg.RootCAs, MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if _, err := a.connect(t, true, old); err != nil {
			t.Fatal(err)
		}
		c.advance(2*ticketEpoch + 1)
		if err := b.server.rotate(); err != nil {
			t.Fatal(err)
		}
		if state, err := b.connect(t, true, old); err != nil || state.DidResume {
			t.Errorf("TLS %x: after more than 24 hours: resumed %v, %v", version, state.DidResume, err)
		}
	}
}

// TestDomainChange: names of the domain that the cloud has left have no certificate any more.
func TestDomainChange(t *testing.T) {
	n := newTestNode(t, newStates("micro.test"), newClock())
	if _, err := n.connect(t, true, &tls.Config{ServerName: "shop.micro.test", RootCAs: n.roots(t)}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Update(t.Context(), func(*cloud.State) ([]cloud.Change, error) {
		return []cloud.Change{cloud.Put(&cloud.Settings{Domain: "cloud.test"})}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.connect(t, true, &tls.Config{ServerName: "shop.micro.test", RootCAs: n.roots(t)}); err == nil {
		t.Error("the old domain still has certificates")
	}
	if _, err := n.connect(t, true, &tls.Config{ServerName: "shop.cloud.test", RootCAs: n.roots(t)}); err != nil {
		t.Error(err)
	}
}
