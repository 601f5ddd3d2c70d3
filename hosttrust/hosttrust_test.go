package hosttrust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// newAuthority makes an authority constrained to names.
func newAuthority(t *testing.T, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"micro.test", "localhost"},
		PermittedIPRanges: []*net.IPNet{{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}},
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestParseAuthority: an authority that could vouch for anything but the domain is not trusted, whatever a node says.
func TestParseAuthority(t *testing.T) {
	for _, c := range []struct {
		name   string
		domain cloud.Domain
		change func(*x509.Certificate)
		want   bool
	}{
		{"as micro makes it", "micro.test", nil, true},
		{"of another domain", "cloud.test", nil, false},
		{"without constraints", "micro.test", func(c *x509.Certificate) {
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains, c.PermittedIPRanges = false, nil, nil
		}, false},
		{"not critical", "micro.test", func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false }, false},
		{"any address", "micro.test", func(c *x509.Certificate) { c.PermittedIPRanges = nil }, false},
		{"for another name too", "micro.test", func(c *x509.Certificate) { c.PermittedDNSDomains = append(c.PermittedDNSDomains, "example.com") }, false},
		{"no authority", "micro.test", func(c *x509.Certificate) { c.IsCA = false }, false},
		{"a public suffix", "test", nil, false},
	} {
		if _, err := ParseAuthority(c.domain, newAuthority(t, c.change)); (err == nil) != c.want {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	text := newAuthority(t, nil)
	for _, bad := range []string{"", "nonsense", string(text) + string(text)} {
		if _, err := ParseAuthority("micro.test", []byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestOurs(t *testing.T) {
	a, err := ParseAuthority("micro.test", newAuthority(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if !isOurs(a.name()) || !isNameOf(a.name(), "micro.test") || isNameOf(a.name(), "o.test") || isNameOf(a.name(), "test") {
		t.Errorf("%q is not known again", a.name())
	}
	for _, name := range []string{"", "micro", "micro-", "micro-test", "custom-ca", "micro-micro.test-0123456789abcde", "micro-micro.test-0123456789abcdeg", "micro--0123456789abcdef"} {
		if isOurs(name) {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

// fakeHost is a machine in a folder, whose programs only note that they were run.
type fakeHost struct {
	*Host
	ran     []string
	missing []string
	fail    string // the program that fails
}

func newFakeHost(t *testing.T, folders ...string) *fakeHost {
	t.Helper()
	f := &fakeHost{}
	f.Host = &Host{Root: t.TempDir(), OS: "linux", Home: "/home/me", Env: func(string) string { return "" },
		Find: func(p string) bool { return !slices.Contains(f.missing, p) },
		Run: func(_ context.Context, _ bool, program string, args ...string) (string, error) {
			f.ran = append(f.ran, strings.Join(append([]string{filepath.Base(program)}, args...), " "))
			if filepath.Base(program) == f.fail {
				return "it is broken", errors.New("exit status 1")
			}
			return "", nil
		}}
	for _, folder := range folders {
		if err := os.MkdirAll(f.path(folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// TestSystems: each distribution's store is a folder and a program of its own.
func TestSystems(t *testing.T) {
	a, err := ParseAuthority("micro.test", newAuthority(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ folder, file, program string }{
		{"/etc/pki/ca-trust/source/anchors", a.name() + ".pem", "update-ca-trust extract"},
		{"/etc/ca-certificates/trust-source/anchors", a.name() + ".crt", "trust extract-compat"},
	} {
		f := newFakeHost(t, c.folder)
		file := f.path(filepath.Join(c.folder, c.file))
		if r := f.Install(t.Context(), a); len(r) != 1 || r[0].State != Trusted || !r[0].Changed {
			t.Errorf("%s: got %+v", c.folder, r)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != string(a.PEM) {
			t.Errorf("%s: %v", c.folder, err)
		}
		if r := f.Uninstall(t.Context(), "other.test"); r[0].Changed {
			t.Errorf("another domain's authority is removed: %+v", r)
		}
		if r := f.Uninstall(t.Context(), ""); r[0].State != Missing || !r[0].Changed {
			t.Errorf("%s: got %+v", c.folder, r)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", c.folder, err)
		}
		if want := []string{c.program, c.program}; !slices.Equal(f.ran, want) {
			t.Errorf("ran %q, want %q", f.ran, want)
		}
	}
}

// TestFailures: what cannot be changed is named, and nothing of ours stays there.
func TestFailures(t *testing.T) {
	a, err := ParseAuthority("micro.test", newAuthority(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	const folder = "/usr/local/share/ca-certificates"
	f := newFakeHost(t, folder)
	f.fail = "update-ca-certificates"
	if r := f.Install(t.Context(), a); r[0].State != Unable || !strings.Contains(r[0].Text, "it is broken") {
		t.Errorf("got %+v", r)
	}
	if entries, _ := os.ReadDir(f.path(folder)); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	f.missing = []string{"update-ca-certificates"}
	if r := f.Install(t.Context(), a); r[0].State != Unable || !strings.Contains(r[0].Hint, "ca-certificates") {
		t.Errorf("got %+v", r)
	}
}

// TestJava: a real key store is changed and put back, by the real keytool.
func TestJava(t *testing.T) {
	a, err := ParseAuthority("micro.test", newAuthority(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	h := This()
	home := t.TempDir()
	file := filepath.Join(home, "lib/security/cacerts")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	s := javaStore{h, home, file}
	other := filepath.Join(home, "other.pem")
	if err := os.WriteFile(other, newAuthority(t, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.run(t.Context(), false, "keytool", "-importcert", "-noprompt", "-keystore", file, "-storepass", password, "-alias", "other", "-file", other); err != nil {
		t.Fatal(err)
	}
	has := func(want bool) {
		t.Helper()
		names, err := s.names(t.Context())
		if err != nil || contains(names, a.name()) != want {
			t.Errorf("got %v, %v", names, err)
		}
		if out, err := h.Run(t.Context(), false, "keytool", "-list", "-keystore", file, "-storepass", password, "-alias", "other"); err != nil {
			t.Errorf("another authority is gone: %s", out)
		}
	}
	has(false)
	if err := s.add(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	has(true)
	if err := s.remove(t.Context(), a.name()); err != nil {
		t.Fatal(err)
	}
	has(false)
}
