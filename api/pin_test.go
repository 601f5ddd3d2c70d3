package api

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/protoduction/micro/cloud"
)

// A target whose certificate is not the one that was confirmed is refused, with both fingerprints.
func TestPin(t *testing.T) {
	shown := ""
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{"version":"1"}`))
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that the client ends
	srv.StartTLS()
	defer srv.Close()
	found, trusted, err := Presented(t.Context(), srv.URL)
	if err != nil || trusted || found != Fingerprint(srv.Certificate().Raw) {
		t.Fatalf("%s %t %v", found, trusted, err)
	}
	ask := func(pin string) error {
		c, err := New(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Pin(pin)
		if err := c.UseToken("micro_secret"); err != nil {
			t.Fatal(err)
		}
		_, err = c.Version(context.Background())
		return err
	}
	if err := ask(found); err != nil || shown != "Bearer micro_secret" {
		t.Errorf("%v, %q", err, shown)
	}
	shown = ""
	other := "sha256:" + strings.Repeat("0a", 32)
	err = ask(other)
	if cloud.CodeOf(err) != cloud.Denied || !strings.Contains(err.Error(), found) || !strings.Contains(err.Error(), other) {
		t.Errorf("another certificate: %v", err)
	}
	if err := ask(""); err == nil {
		t.Error("an unknown certificate is trusted")
	}
	if shown != "" {
		t.Error("a token was sent to a server that nobody confirmed")
	}
	c, err := New("http://192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.UseToken("micro_secret"); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("in clear text: %v", err)
	}
	for text, good := range map[string]bool{found: true, strings.ToUpper(found[7:]): true, "": false, "sha256:": false, found + "00": false} {
		if _, err := CheckFingerprint(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
