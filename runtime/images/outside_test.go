package images

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/images/imagestest"
	ourremote "github.com/protoduction/micro/runtime/remote"
)

// Whoever pushes an image of a registry reaches nothing by it that only the machine reaches: not by the registry's
// address, nor by its name's, nor by where it gets tokens from, nor by where it redirects to. A registry that the
// operator has named may be there.
func TestPullStaysOutside(t *testing.T) {
	var reached atomic.Int32
	secret := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		fmt.Fprint(w, `{"token":"x"}`)
	}))
	defer secret.Close()
	answering := func(answer func(w http.ResponseWriter)) string {
		return serve(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) })
		})
	}
	realm := answering(func(w http.ResponseWriter) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, secret.URL))
		w.WriteHeader(http.StatusUnauthorized)
	})
	redirect := answering(func(w http.ResponseWriter) {
		w.Header().Set("Location", secret.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	named, mirrored := serve(t, nil), serve(t, nil)
	for _, host := range []string{named, mirrored} {
		push(t, host+"/team/shop:1", imagestest.Image(t, "amd64", map[string]string{"app": host}))
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"auths":{%q:{},%q:{},%q:{}}}`, named, realm, redirect), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "certs", "registry.example.test"), 0o755); err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", mirrored)
	if err := os.WriteFile(filepath.Join(dir, "certs", "registry.example.test", "hosts.toml"), []byte(toml), 0o644); err != nil {
		t.Fatal(err)
	}
	_, s := open(t, Config{Remote: ourremote.Config{
		CertsDir: filepath.Join(dir, "certs"), DockerConfig: config,
		CheckOutside: func(addr netip.Addr) error {
			if addr.Unmap().IsLoopback() {
				return fmt.Errorf("%s is this machine itself", addr)
			}
			return nil
		},
	}})
	for _, ref := range []string{named + "/team/shop:1", "registry.example.test/team/shop:1"} {
		if _, err := s.Pull(t.Context(), ref, nil); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	own := strings.TrimPrefix(secret.URL, "http://")
	_, port, _ := strings.Cut(own, ":")
	for what, ref := range map[string]string{
		"an address": own + "/team/shop:1", "a name": "localhost:" + port + "/team/shop:1", "IPv6": "[::ffff:127.0.0.1]:" + port + "/team/shop:1",
		"a realm": realm + "/team/shop:1", "a redirect": redirect + "/team/shop:1",
	} {
		_, err := s.Pull(t.Context(), ref, nil)
		if what == "IPv6" && cloud.CodeOf(err) == cloud.Invalid {
			continue // no name of an image
		}
		wantCode(t, err, cloud.Denied, "this machine itself", port)
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("the server inside was asked %d times", n)
	}
}
