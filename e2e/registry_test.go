package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/protoduction/micro/testdata/apps"
)

// registry [USER:PASSWORD] starts a registry of images on loopback, at $REGISTRY, until the script ends. A node that
// is to ask it is started with DOCKER_CONFIG=$WORK/named, or with the password in $WORK/config.json.
// Whoever reads from it has to give the password; the images of the script go in by another way.
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: registry [USER:PASSWORD]")
	}
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	serve := func(h http.Handler) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		server := http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
		go server.Serve(ln)
		ts.Defer(func() { server.Close() })
		return ln.Addr().String()
	}
	ts.Setenv("REGISTRY_IN", serve(images))
	guarded := images
	if len(args) == 1 {
		user, password, _ := strings.Cut(args[0], ":")
		guarded = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
				w.Header().Set("WWW-Authenticate", `Basic realm="script"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
				return
			}
			images.ServeHTTP(w, r)
		})
	}
	address := serve(guarded)
	ts.Setenv("REGISTRY", address)
	// A registry on this machine is asked only if the operator has named it.
	ts.Check(os.MkdirAll(ts.MkAbs("named"), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs("named/config.json"), fmt.Appendf(nil, `{"auths":{%q:{}}}`, address), 0o600))
	if len(args) == 1 {
		config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, address, base64.StdEncoding.EncodeToString([]byte(args[0])))
		ts.Check(os.WriteFile(ts.MkAbs("config.json"), []byte(config), 0o600))
	}
}

// helloimage [PLATFORM] ARCHIVE|NAME makes an image of hello-go for a platform, as a docker archive, or
// as NAME in the script's registry.
func helloImageCommand(ts *testscript.TestScript, neg bool, args []string) {
	platform := v1.Platform{OS: "linux", Architecture: "amd64"}
	if len(args) == 2 {
		platform.OS, platform.Architecture, _ = strings.Cut(args[0], "/")
		args = args[1:]
	}
	if neg || len(args) != 1 {
		ts.Fatalf("usage: helloimage [PLATFORM] ARCHIVE|NAME")
	}
	dir, err := os.MkdirTemp("", "hello")
	ts.Check(err)
	defer os.RemoveAll(dir)
	ts.Check(apps.CopyTo(context.Background(), filepath.Join(dir, "hello-go"), "hello-go"))
	program, err := os.ReadFile(filepath.Join(dir, "hello-go", "hello"))
	ts.Check(err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	ts.Check(w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}))
	_, err = w.Write(program)
	ts.Check(err)
	ts.Check(w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	ts.Check(err)
	image, err := mutate.AppendLayers(empty.Image, l)
	ts.Check(err)
	config, err := image.ConfigFile()
	ts.Check(err)
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Config.Entrypoint = []string{"/hello"}
	config.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
	image, err = mutate.ConfigFile(image, config)
	ts.Check(err)
	if strings.HasSuffix(args[0], ".tar") {
		tag, err := name.NewTag("hello:latest")
		ts.Check(err)
		ts.Check(tarball.WriteToFile(ts.MkAbs(args[0]), tag, image))
		return
	}
	ts.Check(upload(ts.Getenv("REGISTRY_IN"), args[0], image))
}

// upload puts an image into a registry as REPOSITORY:TAG (OCI distribution specification, Push).
func upload(address, reference string, image v1.Image) error {
	repository, tag, _ := strings.Cut(reference, ":")
	base := "http://" + address + "/v2/" + repository
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return err
		}
		body, err := l.Compressed()
		if err != nil {
			return err
		}
		if err := send(http.MethodPost, base+"/blobs/uploads/?digest="+digest.String(), "application/octet-stream", body); err != nil {
			return err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	digest, err := image.ConfigName()
	if err != nil {
		return err
	}
	if err := send(http.MethodPost, base+"/blobs/uploads/?digest="+digest.String(), "application/octet-stream", bytes.NewReader(config)); err != nil {
		return err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	kind, err := image.MediaType()
	if err != nil {
		return err
	}
	return send(http.MethodPut, base+"/manifests/"+tag, string(kind), bytes.NewReader(manifest))
}

func send(method, url, kind string, body io.Reader) error {
	req, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return nil
}
