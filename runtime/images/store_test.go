package images

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	v1spec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/hosttest"
	"github.com/protoduction/micro/runtime/images/imagestest"
	ourremote "github.com/protoduction/micro/runtime/remote"
)

func open(t *testing.T, cfg Config) (*engine.Engine, *Store) {
	t.Helper()
	e := openEngine(t)
	cfg.Engine, cfg.Logger = e, hosttest.Logger(t)
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return time.Now().Add(time.Hour) } // no image is fresh
	return e, s
}

func digestOf(t *testing.T, img partial.Describable) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

// serve runs a registry on localhost and returns its host:port.
func serve(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// push uploads an image or an index to "host:port/repo:tag", children of an index first.
func push(t *testing.T, ref string, of partial.WithRawManifest) {
	t.Helper()
	host, rest, _ := strings.Cut(ref, "/")
	repo, tag, _ := strings.Cut(rest, ":")
	base := "http://" + host + "/v2/" + repo
	if img, ok := of.(v1.Image); ok {
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.RawConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		blobs := [][]byte{config}
		for _, l := range layers {
			r, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			blobs = append(blobs, b)
		}
		for _, b := range blobs {
			send(t, http.MethodPost, base+"/blobs/uploads/?digest="+digest.FromBytes(b).String(), "application/octet-stream", b)
		}
	}
	raw, err := of.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mt, err := of.(interface {
		MediaType() (types.MediaType, error)
	}).MediaType()
	if err != nil {
		t.Fatal(err)
	}
	send(t, http.MethodPut, base+"/manifests/"+tag, string(mt), raw)
}

func send(t *testing.T, method, url, contentType string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s %s", method, url, resp.Status, text)
	}
}

func wantCode(t *testing.T, err error, code cloud.Code, parts ...string) {
	t.Helper()
	if cloud.CodeOf(err) != code {
		t.Fatalf("code %s, want %s: %v", cloud.CodeOf(err), code, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error()+" "+cloud.HintOf(err), p) {
			t.Errorf("%q lacks %q (hint %q)", err, p, cloud.HintOf(err))
		}
	}
}

func TestPull(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	img := imagestest.Image(t, "amd64", map[string]string{"app": "v1", "srv/x": "y"})
	push(t, host+"/team/shop:1", img)
	var steps []runtime.Progress
	got, err := s.Pull(t.Context(), host+"/team/shop:1", func(p runtime.Progress) { steps = append(steps, p) })
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != digestOf(t, img) || got.Name != host+"/team/shop:1" || got.User != "1000" || got.Dir != "/srv" ||
		len(got.Ports) != 2 || got.Ports[0] != 80 || got.StopSignal != "SIGINT" || got.Labels["l"] != "v" ||
		got.Entrypoint[0] != "/app" || got.Cmd[0] != "serve" || got.Size == 0 {
		t.Fatalf("%+v", got)
	}
	if len(steps) < 4 {
		t.Errorf("progress: %+v", steps)
	}
	// By digest, no registry is needed any more.
	again, err := s.Pull(t.Context(), "nowhere.invalid/x@"+got.Digest, nil)
	if err != nil || again.Digest != got.Digest {
		t.Fatalf("%+v, %v", again, err)
	}
}

func TestPullIndex(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	amd, arm := imagestest.Image(t, "amd64", map[string]string{"app": "amd"}), imagestest.Image(t, "arm64", map[string]string{"app": "arm"})
	both := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	only := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	push(t, host+"/x:amd", amd)
	push(t, host+"/x:arm", arm)
	push(t, host+"/x:both", both)
	push(t, host+"/x:only", only)
	got, err := s.Pull(t.Context(), host+"/x:both", nil)
	if err != nil || got.Digest != digestOf(t, amd) {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = s.Pull(t.Context(), host+"/x:only", nil)
	wantCode(t, err, cloud.Invalid, "linux/arm64", "linux/amd64")
	_, err = s.Pull(t.Context(), host+"/x:arm", nil)
	wantCode(t, err, cloud.Invalid, "linux/arm64", "linux/amd64")
}

func TestPullErrors(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	_, err := s.Pull(t.Context(), host+"/none:1", nil)
	wantCode(t, err, cloud.NotFound, host, "none:1")
	_, err = s.Pull(t.Context(), "not a name", nil)
	wantCode(t, err, cloud.Invalid)
	_, err = s.Pull(t.Context(), "127.0.0.1:1/x:1", nil)
	wantCode(t, err, cloud.Unavailable, "127.0.0.1:1")
	_, err = s.Pull(t.Context(), "registry.invalid/x:1", nil)
	wantCode(t, err, cloud.Unavailable, "registry.invalid")
	_, err = s.Get(t.Context(), "sha256:"+strings.Repeat("0", 64))
	wantCode(t, err, cloud.NotFound)
	broken := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	})
	_, err = s.Pull(t.Context(), broken+"/x:1", nil)
	wantCode(t, err, cloud.Unavailable, broken)
	// One of an image's blobs is not there, by the registry's own word.
	img := imagestest.Image(t, "amd64", map[string]string{"app": "lost"})
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range []string{m.Config.Digest.String(), m.Layers[0].Digest.String()} {
		lossy := serve(t, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+lost) {
					http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, http.StatusNotFound)
					return
				}
				h.ServeHTTP(w, r)
			})
		})
		push(t, lossy+"/x:1", img)
		_, err = s.Pull(t.Context(), lossy+"/x:1", nil)
		wantCode(t, err, cloud.NotFound, lossy+"/x:1", "has the image, but not its blob "+lost, "push the image")
		if strings.Contains(err.Error(), "by that name") {
			t.Error(err)
		}
	}
	rate := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = s.Pull(ctx, rate+"/x:1", nil)
	wantCode(t, err, cloud.Unavailable, rate)
}

func TestPullAuth(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	_, s := open(t, Config{Remote: ourremote.Config{DockerConfig: file}})
	locked := false
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, _ := r.BasicAuth(); locked && (u != "ann" || p != "s3cret") {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	img := imagestest.Image(t, "amd64", map[string]string{"app": "auth"})
	push(t, host+"/private:1", img)
	locked = true
	_, err := s.Pull(t.Context(), host+"/private:1", nil)
	wantCode(t, err, cloud.Denied, "docker login "+host)
	for _, auth := range []string{`"auths":{"` + host + `":{"auth":"YW5uOnMzY3JldA=="}}`, `"credHelpers":{"` + host + `":"micro-test"}`, `"credsStore":"micro-test"`} {
		if err := os.WriteFile(file, []byte("{"+auth+"}"), 0o600); err != nil {
			t.Fatal(err)
		}
		helper := "#!/bin/sh\nread -r host\n[ \"$1 $host\" = \"get " + host + "\" ] && echo '{\"Username\":\"ann\",\"Secret\":\"s3cret\"}'\n"
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-micro-test"), []byte(helper), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
		if err := s.Prune(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pull(t.Context(), host+"/private:1", nil); err != nil {
			t.Fatalf("%s: %v", auth, err)
		}
	}
	if err := os.WriteFile(file, []byte(`{"auths":{"`+host+`":{"auth":"YW5uOndyb25n"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	_, err = s.Pull(t.Context(), host+"/private:1", nil)
	wantCode(t, err, cloud.Denied)
}

// A registry's name may be served by a mirror, as containerd's hosts.toml says.
func TestPullMirror(t *testing.T) {
	dir := t.TempDir()
	host := serve(t, nil)
	push(t, host+"/team/shop:1", imagestest.Image(t, "amd64", map[string]string{"app": "mirror"}))
	if err := os.MkdirAll(filepath.Join(dir, "registry.example.test"), 0o755); err != nil {
		t.Fatal(err)
	}
	toml := "server = \"http://" + host + "\"\n[host.\"http://" + host + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "registry.example.test", "hosts.toml"), []byte(toml), 0o644); err != nil {
		t.Fatal(err)
	}
	_, s := open(t, Config{Remote: ourremote.Config{CertsDir: dir}})
	if _, err := s.Pull(t.Context(), "registry.example.test/team/shop:1", nil); err != nil {
		t.Fatal(err)
	}
}

// A registry that accepts and says nothing must not hold a push for ever.
func TestPullCancelled(t *testing.T) {
	_, s := open(t, Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		cancel()
		if err == nil {
			defer c.Close()
			io.Copy(io.Discard, c)
		}
	}()
	start := time.Now()
	_, err = s.Pull(ctx, l.Addr().String()+"/x:1", nil)
	wantCode(t, err, cloud.Interrupted)
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestPullCorruptLayer(t *testing.T) {
	_, s := open(t, Config{})
	corrupt := false
	host := serve(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if corrupt && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				b := rec.Body.Bytes()
				b[len(b)/2] ^= 1
				w.Write(b)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	push(t, host+"/x:1", imagestest.Image(t, "amd64", map[string]string{"app": strings.Repeat("z", 1000)}))
	corrupt = true
	_, err := s.Pull(t.Context(), host+"/x:1", nil)
	wantCode(t, err, cloud.Unavailable, host)
	assertEmpty(t, s)
	corrupt = false
	if _, err := s.Pull(t.Context(), host+"/x:1", nil); err != nil {
		t.Fatal(err)
	}
}

// assertEmpty checks that the collector finds nothing to keep.
func assertEmpty(t *testing.T, s *Store) {
	t.Helper()
	ctx := s.ns(t.Context())
	if err := s.collect(ctx); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Space(ctx); err != nil || left != (Space{}) {
		t.Errorf("%+v are left, %v", left, err)
	}
	err := s.client.SnapshotService(engine.Snapshotter).Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		return errors.New("left: " + i.Name)
	})
	if err != nil {
		t.Error(err)
	}
	if l, err := s.client.LeasesService().List(ctx); err != nil || len(l) != 0 {
		t.Errorf("leases %v, %v", l, err)
	}
}

// What no image needs, packed or unpacked, is the build cache's.
func TestSpace(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	push(t, host+"/x:1", imagestest.Image(t, "amd64", map[string]string{"app": strings.Repeat("1", 100_000)}))
	push(t, host+"/x:2", imagestest.Image(t, "amd64", map[string]string{"app": strings.Repeat("2", 300_000)}))
	var second string
	for _, v := range []string{"1", "2"} {
		img, err := s.Pull(t.Context(), host+"/x:"+v, nil)
		if err != nil {
			t.Fatal(err)
		}
		second = img.Digest
	}
	all, err := s.Space(t.Context())
	if err != nil || all.Cache != 0 || all.Images < 400_000 {
		t.Errorf("%+v, %v", all, err)
	}
	ctx := s.ns(t.Context())
	lease, err := s.client.LeasesService().Create(ctx, leases.WithRandomID()) // as BuildKit has
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.LeasesService().AddResource(ctx, lease, leases.Resource{ID: second, Type: "content"}); err != nil {
		t.Fatal(err)
	}
	if err := s.client.ImageService().Delete(ctx, recordName(second)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Space(t.Context())
	if err != nil || got.Images+got.Cache != all.Images+all.Cache || got.Cache < 300_000 || got.Images < 100_000 {
		t.Errorf("%+v of %+v, %v", got, all, err)
	}
}

func TestPrune(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	for _, v := range []string{"1", "2", "3"} {
		push(t, host+"/x:"+v, imagestest.Image(t, "amd64", map[string]string{"app": strings.Repeat(v, 100_000)}))
	}
	var digests []string
	for _, v := range []string{"1", "2", "3"} {
		img, err := s.Pull(t.Context(), host+"/x:"+v, nil)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, img.Digest)
	}
	if err := s.Tag(t.Context(), digests[2], "base"); err != nil {
		t.Fatal(err)
	}
	later := s.now
	s.now = time.Now
	if err := s.Prune(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), digests[1]); err != nil {
		t.Error("a fresh image:", err)
	}
	s.now = later
	before, err := s.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(t.Context(), func() map[string]bool { return map[string]bool{digests[0]: true} }); err != nil {
		t.Fatal(err)
	}
	if after, err := s.Space(t.Context()); err != nil || before.Images-after.Images < 100_000 {
		t.Fatalf("before %+v, after %+v, %v", before, after, err)
	}
	for i, want := range []cloud.Code{"", cloud.NotFound, ""} {
		if _, err := s.Get(t.Context(), digests[i]); cloud.CodeOf(err) != want {
			t.Errorf("image %d: %v, want %q", i, err, want)
		}
	}
	if err := s.Untag(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	assertEmpty(t, s)
}

// collect has containerd's collector run now: it does at the synchronous end of a lease.
func (s *Store) collect(ctx context.Context) error {
	l, err := s.client.LeasesService().Create(ctx, leases.WithRandomID())
	if err != nil {
		return err
	}
	return s.client.LeasesService().Delete(ctx, l, leases.SynchronousDelete)
}

// nothing is what Prune is to keep.
func nothing() map[string]bool { return nil }

// An image that comes into use while others are removed stays whole, whenever that is.
func TestPruneSparesWhatComesIntoUse(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	push(t, host+"/x:1", imagestest.Image(t, "amd64", map[string]string{"app": strings.Repeat("x", 100_000)}))
	asked := 1
	for used := 1; asked >= used; used++ { // the call that it is needed at, until there is no such call
		img, err := s.Pull(t.Context(), host+"/x:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		asked = 0
		keep := func() map[string]bool {
			asked++
			return map[string]bool{img.Digest: asked >= used}
		}
		if err := s.Prune(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
		_, err = s.Get(t.Context(), img.Digest)
		if asked >= used && err != nil {
			t.Errorf("needed from the %d. time of %d on: %v", used, asked, err)
		}
		if asked < used && cloud.CodeOf(err) != cloud.NotFound {
			t.Errorf("never needed: %v", err)
		}
	}
	if err := s.Prune(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	assertEmpty(t, s)
}

func mustNotExist(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil {
		t.Errorf("%s exists", path)
		os.Remove(path)
	}
}

// What a killed process was fetching goes at the next start.
func TestImagesSweeps(t *testing.T) {
	e, s := open(t, Config{})
	ctx, _, err := s.work(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := content.WriteBlob(ctx, s.client.ContentStore(), "x", strings.NewReader("half of it"), v1spec.Descriptor{}); err != nil {
		t.Fatal(err)
	}
	if w, err := s.client.ContentStore().Writer(ctx, content.WithRef("half")); err != nil {
		t.Fatal(err)
	} else if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.SnapshotService(engine.Snapshotter).Prepare(ctx, "half", ""); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), Config{Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	assertEmpty(t, s)
	if all, err := s.client.ContentStore().ListStatuses(s.ns(t.Context())); err != nil || len(all) > 0 {
		t.Errorf("uploads %v, %v", all, err)
	}
}

func TestPullTwiceAtOnce(t *testing.T) {
	_, s := open(t, Config{})
	host := serve(t, nil)
	push(t, host+"/x:1", imagestest.Image(t, "amd64", map[string]string{"app": strings.Repeat("at once ", 1<<17)}))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.Pull(t.Context(), host+"/x:1", nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestImagesDiskFull(t *testing.T) {
	_, s := open(t, Config{Limits: Limits{Free: 1 << 60}})
	host := serve(t, nil)
	push(t, host+"/x:1", imagestest.Image(t, "amd64", map[string]string{"app": "x"}))
	_, err := s.Pull(t.Context(), host+"/x:1", nil)
	wantCode(t, err, cloud.Unavailable, "disk", "full", "micro prune")
	_, err = s.Import(t.Context(), strings.NewReader("x"), nil)
	wantCode(t, err, cloud.Unavailable, "disk", "full", "micro prune")
	assertEmpty(t, s)
}
