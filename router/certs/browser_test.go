package certs

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBrowserConstraints: a real Chromium that trusts the authority opens a page of the private domain, and refuses a
// name outside it that the authority's key has signed.
func TestBrowserConstraints(t *testing.T) {
	n := newTestNode(t, newStates("micro.test"), &clock{at: time.Now()})
	i, err := n.local.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "<p>this is %s", r.Host) }))
	page.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return i.issue([]string{hello.ServerName}, nil, time.Now())
	}}
	page.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	page.StartTLS()
	defer page.Close()
	_, port, err := net.SplitHostPort(page.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	home := t.TempDir()
	db, ca := filepath.Join(home, ".pki/nssdb"), filepath.Join(home, "ca.pem")
	if err := os.MkdirAll(db, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "HOME="+home)
		out, err := cmd.Output()
		if _, ended := err.(*exec.ExitError); err != nil && !ended { // the browser's exit code is 1 where it refuses
			t.Fatalf("%s: %v", name, err)
		}
		return string(out)
	}
	run("certutil", "-N", "-d", "sql:"+db, "--empty-password")
	open := func(host string) string {
		t.Helper()
		return run("chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(home, "profile"),
			"--host-resolver-rules=MAP * 127.0.0.1:"+port, "--dump-dom", "https://"+host+"/")
	}
	const inside, outside = "shop.micro.test", "www.example.com"
	if got := open(inside); strings.Contains(got, "this is") {
		t.Errorf("before the authority is trusted: %s", got)
	}
	run("certutil", "-A", "-d", "sql:"+db, "-n", "authority", "-t", "C,,", "-i", ca)
	if got := open(inside); !strings.Contains(got, "this is "+inside) {
		t.Errorf("%s: %s", inside, got)
	}
	if got := open(outside); strings.Contains(got, "this is") {
		t.Errorf("%s: %s", outside, got)
	}
}
