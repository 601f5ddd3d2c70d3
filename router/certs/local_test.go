package certs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// TestConstraints: whatever the authority's key signs for a name that is not of its domain is refused, by Go and by
// OpenSSL.
func TestConstraints(t *testing.T) {
	n := newTestNode(t, newStates("micro.test"), newClock())
	roots := n.roots(t)
	i, err := n.local.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", i.cert.Raw)
	for _, c := range []struct {
		name string
		want bool
	}{
		{"micro.test", true},
		{"shop.micro.test", true},
		{"shop-20261122-r7.qa.micro.test", true},
		{"a.b.c.d.micro.test", true},
		{"localhost", true},
		{"shop.localhost", true},
		{"127.0.0.1", true},
		{"::1", true},
		{"www.example.com", false},
		{"test", false},
		{"notmicro.test", false},
		{"micro.test.example.com", false},
		{"micro.testing", false},
		{"notlocalhost", false},
		{"10.0.0.1", false},
		{"128.0.0.1", false},
		{"2001:db8::1", false},
	} {
		var names []string
		var ips []net.IP
		flag := "-verify_hostname"
		if ip := net.ParseIP(c.name); ip != nil {
			ips, flag = []net.IP{ip}, "-verify_ip"
		} else {
			names = []string{c.name}
		}
		cert, err := i.issue(names, ips, n.now())
		if err != nil {
			t.Fatal(err)
		}
		_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: c.name, Roots: roots, CurrentTime: n.now()})
		if (err == nil) != c.want {
			t.Errorf("Go: %s: got %v", c.name, err)
		}
		leaf := write("leaf.pem", cert.Certificate[0])
		out, err := exec.Command("openssl", "verify", "-CAfile", ca, flag, c.name, leaf).CombinedOutput()
		if (err == nil) != c.want {
			t.Errorf("OpenSSL: %s: got %v: %s", c.name, err, out)
		}
		if !c.want && !strings.Contains(string(out), "permitted subtree violation") {
			t.Errorf("OpenSSL: %s is refused for another reason: %s", c.name, out)
		}
	}
	// An authority below it is refused too.
	below := &x509.Certificate{SerialNumber: serial(), NotAfter: n.now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, DNSNames: []string{"shop.micro.test"}}
	other, err := i.issue([]string{"x.micro.test"}, nil, n.now())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, below, i.cert, other.Leaf.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	middle, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	deep := &issuer{from: i.from, cert: middle, key: other.PrivateKey.(crypto.Signer)}
	leaf, err := deep.issue([]string{"shop.micro.test"}, nil, n.now())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(middle)
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: "shop.micro.test", Roots: roots, Intermediates: pool, CurrentTime: n.now()}); err == nil {
		t.Error("an authority below the authority is believed")
	}
}

// TestOneAuthority: of two nodes that make an authority at the same time, the first wins, and both use it.
func TestOneAuthority(t *testing.T) {
	s, c := newStates("micro.test"), newClock()
	a, b := newTestNode(t, s, c), newTestNode(t, s, c)
	var first *cloud.Authority
	s.before = func() {
		var err error
		if first, err = b.local.Authority(context.Background()); err != nil {
			t.Error(err)
		}
	}
	got, err := a.local.Authority(t.Context())
	if err != nil || got != first || s.writes != 1 {
		t.Fatalf("got %v, %v after %d writes", got, err, s.writes)
	}
	if strings.Contains(string(got.PrivateKey), "PRIVATE") || got.PrivateKey == "" {
		t.Error("the key is not sealed")
	}
	cert, err := a.local.Certificate(t.Context(), "shop.micro.test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: "shop.micro.test", Roots: b.roots(t), CurrentTime: c.now()}); err != nil {
		t.Error(err)
	}
}

// TestAuthorityFails: where the store takes no change there is no certificate, and a later try succeeds.
func TestAuthorityFails(t *testing.T) {
	s := newStates("micro.test")
	n := newTestNode(t, s, newClock())
	s.fail = errors.New("the disk is full")
	if _, err := n.local.Certificate(t.Context(), "shop.micro.test"); !errors.Is(err, s.fail) {
		t.Errorf("got %v", err)
	}
	s.fail = nil
	if _, err := n.local.Certificate(t.Context(), "shop.micro.test"); err != nil {
		t.Error(err)
	}
}

// TestLeaves: a certificate is kept until a third of its life is left, and made anew when the domain has changed.
func TestLeaves(t *testing.T) {
	n := newTestNode(t, newStates("micro.test"), newClock())
	get := func(name string) *x509.Certificate {
		t.Helper()
		c, err := n.local.Certificate(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if left := c.Leaf.NotAfter.Sub(n.now()); left <= leafLife/3 || left > leafLife {
			t.Errorf("%v are left", left)
		}
		return c.Leaf
	}
	first := get("shop.micro.test")
	if n.advance(leafLife / 2); get("shop.micro.test") != first {
		t.Error("made anew in the middle of its life")
	}
	if n.advance(leafLife / 5); get("shop.micro.test") == first {
		t.Error("not made anew when less than a third of its life is left")
	}
	for i := range maxLeaves + 10 {
		get(strings.Repeat("a", 1+i%60) + "." + strings.Repeat("b", 1+i/60) + ".micro.test")
	}
	if len(n.local.leaves) > maxLeaves {
		t.Errorf("%d certificates are kept", len(n.local.leaves))
	}
	old := n.roots(t)
	if _, err := n.Update(t.Context(), func(*cloud.State) ([]cloud.Change, error) {
		return []cloud.Change{cloud.Put(&cloud.Settings{Domain: "cloud.test"})}, nil
	}); err != nil {
		t.Fatal(err)
	}
	leaf := get("shop.cloud.test")
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "shop.cloud.test", Roots: n.roots(t), CurrentTime: n.now()}); err != nil {
		t.Error(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "shop.cloud.test", Roots: old, CurrentTime: n.now()}); err == nil {
		t.Error("the authority of the old domain vouches for the new one")
	}
}
