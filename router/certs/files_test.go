package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestFiles: files of certificates are followed. One that changes is served, one that cannot be read leaves what was
// there and is told of, and one that goes is served no more.
func TestFiles(t *testing.T) {
	authority, key, err := newAuthority("example.com", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i, err := newIssuer(&authority, key)
	if err != nil {
		t.Fatal(err)
	}
	dir, single := t.TempDir(), filepath.Join(t.TempDir(), "one.crt")
	write := func(path string, names ...string) {
		t.Helper()
		c, err := i.issue(names, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{path: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, keyOf(path): {Type: "PRIVATE KEY", Bytes: private}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(single, "one.example.com")
	write(filepath.Join(dir, "a.pem"), "a.example.com", "*.Wild.example.com")
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		f := NewFiles(FilesConfig{Paths: []string{single, dir, filepath.Join(dir, "missing.crt")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan bool)
		go func() { f.Run(ctx); close(done) }()
		served := func(name, want string) {
			t.Helper()
			got := ""
			if c := f.Certificate(name); c != nil {
				got = strings.Join(c.Leaf.DNSNames, " ")
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		look := func() {
			time.Sleep(filesEvery)
			synctest.Wait()
		}
		listed := func(file string) (found FileCertificate) {
			t.Helper()
			for _, c := range f.List() {
				if filepath.Base(c.Path) == file {
					found = c
				}
			}
			return found
		}
		served("one.example.com", "one.example.com")
		served("a.example.com", "a.example.com *.Wild.example.com")
		served("x.wild.example.com", "a.example.com *.Wild.example.com")
		served("x.y.wild.example.com", "")
		served("b.example.com", "")
		if c := listed("missing.crt"); c.Err == nil || !c.Expires.IsZero() {
			t.Errorf("a file that is missing: %+v", c)
		}

		write(filepath.Join(dir, "b.crt"), "b.example.com")
		write(filepath.Join(dir, "a.pem"), "a.example.com", "new.example.com")
		look()
		served("b.example.com", "b.example.com")
		served("new.example.com", "a.example.com new.example.com")
		served("x.wild.example.com", "")

		// Half of a pair was written, then nonsense, then one without names: what was there stays.
		before := f.Certificate("b.example.com")
		for _, text := range []string{"", "nonsense"} {
			if err := os.WriteFile(filepath.Join(dir, "b.key"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			look()
			if f.Certificate("b.example.com") != before || listed("b.crt").Err == nil || listed("b.crt").Expires.IsZero() {
				t.Errorf("%q: the certificate is %+v", text, listed("b.crt"))
			}
		}
		write(filepath.Join(dir, "b.crt"))
		look()
		if f.Certificate("b.example.com") != before || listed("b.crt").Err == nil {
			t.Errorf("without names: %+v", listed("b.crt"))
		}
		write(filepath.Join(dir, "b.crt"), "b.example.com")
		look()
		if f.Certificate("b.example.com") == before || listed("b.crt").Err != nil {
			t.Errorf("mended: %+v", listed("b.crt"))
		}
		if err := os.Remove(filepath.Join(dir, "b.crt")); err != nil {
			t.Fatal(err)
		}
		look()
		served("b.example.com", "")
		cancel()
		<-done
	})
	if n := strings.Count(log.String(), "b.crt err"); n != 3 {
		t.Errorf("told %d times of a file that was wrong three times:\n%s", n, &log)
	}
}
