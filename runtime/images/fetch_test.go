package images

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/images/imagestest"
)

// sourceOf returns a node that serves images by a handler.
func sourceOf(t *testing.T, name cloud.NodeName, h http.Handler) Source {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return Source{name, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", srv.Listener.Addr().String())
		},
	}}}
}

func TestFetch(t *testing.T) {
	_, from := open(t, Config{})
	_, to := open(t, Config{})
	noise := make([]byte, 8<<20)
	rand.Read(noise)
	image := imagestest.Image(t, "amd64", map[string]string{"app": string(noise)})
	archive := imagestest.DockerSave(t, map[string]v1.Image{"shop:1": image})
	have, err := from.Import(t.Context(), bytes.NewReader(archive), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := from.Handler()
	// One node does not have it, one is gone, one breaks off in the middle of each blob, and one sends other bytes.
	var rest, cut atomic.Int64
	without := sourceOf(t, "without", to.Handler())
	gone := Source{"gone", &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, fmt.Errorf("no route to host")
	}}}}
	breaks := sourceOf(t, "breaks", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("Range") == "" && cut.Add(1) <= 2 {
			w = &breaking{ResponseWriter: w, left: 1 << 20}
		} else if r.Header.Get("Range") != "" {
			rest.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	forged := sourceOf(t, "forged", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		b := rec.Body.Bytes()
		if len(b) > 0 && strings.Contains(r.URL.Path, "/blobs/") {
			b[len(b)/2] ^= 1
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(b)
	}))
	if _, err := to.Fetch(t.Context(), have.Digest, nil, nil); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("without other nodes: %v", err)
	}
	for _, list := range [][]Source{{without}, {gone}, {forged}} {
		_, err := to.Fetch(t.Context(), have.Digest, list, nil)
		wantCode(t, err, cloud.Unavailable, have.Digest)
		assertEmpty(t, to)
	}
	got, err := to.Fetch(t.Context(), have.Digest, []Source{without, gone, breaks}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != have.Digest || got.Size != have.Size || got.Name != have.Name && got.Name != have.Digest {
		t.Errorf("got %+v, not %+v", got, have)
	}
	if rest.Load() == 0 {
		t.Error("a transfer that broke off began anew")
	}
	if !to.Has(t.Context(), have.Digest) {
		t.Error("it is not kept")
	}
	// What is here already is asked of nobody.
	if _, err := to.Fetch(t.Context(), have.Digest, []Source{gone}, nil); err != nil {
		t.Error(err)
	}
	if err := to.Prune(t.Context(), nothing); err != nil {
		t.Error(err)
	}
	assertEmpty(t, to)
}

// breaking ends its connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ResponseWriter.Write(p)
	if b.left -= n; b.left == 0 {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestHandler(t *testing.T) {
	_, s := open(t, Config{})
	image, err := s.Import(t.Context(), bytes.NewReader(imagestest.DockerSave(t, map[string]v1.Image{"shop:1": imagestest.Image(t, "amd64", map[string]string{"app": "x"})})), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(method, path string, status int, kind string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if got := w.Header().Get("Content-Type"); w.Code != status || kind != "" && got != kind {
			t.Errorf("%s %s: %d %s", method, path, w.Code, got)
		}
	}
	unknown := "sha256:" + strings.Repeat("0", 64)
	f("GET", "/v2/", 200, "")
	f("HEAD", "/v2/image/manifests/"+image.Digest, 200, "application/vnd.docker.distribution.manifest.v2+json")
	f("GET", "/v2/image/blobs/"+image.Digest, 200, "application/octet-stream")
	f("GET", "/v2/image/blobs/"+unknown, 404, "application/json")
	f("GET", "/v2/image/manifests/"+unknown, 404, "application/json")
	f("GET", "/v2/image/manifests/latest", 400, "application/json")
	f("GET", "/v2/image/blobs/..%2f..%2fetc%2fpasswd", 400, "application/json")
	f("PUT", "/v2/image/manifests/"+image.Digest, 405, "")
	f("DELETE", "/v2/image/blobs/"+image.Digest, 405, "")
	f("POST", "/v2/image/blobs/uploads/", 404, "")
}
