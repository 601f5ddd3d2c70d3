package build_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/images/imagestest"
	"github.com/protoduction/micro/runtime/overlay"
)

// files returns the files of an image, as a container has them, by their paths with their content.
func (r *rig) files(t *testing.T, d string) map[string]string {
	t.Helper()
	ctx := r.engine.Context(t.Context())
	record, err := r.engine.Client().ImageService().Get(ctx, "micro.local/image@"+d)
	if err != nil {
		t.Fatal(err)
	}
	store := r.engine.Client().ContentStore()
	var m ocispec.Manifest
	var c ocispec.Image
	read := func(d ocispec.Descriptor, v any) {
		b, err := content.ReadBlob(ctx, store, d)
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read(record.Target, &m)
	read(m.Config, &c)
	service, key := r.engine.Client().SnapshotService(engine.Snapshotter), "test-"+t.Name()
	mounts, err := service.View(ctx, key, identity.ChainID(c.RootFS.DiffIDs).String(),
		snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "test"}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := service.Remove(ctx, key); err != nil {
			t.Error(err)
		}
	}()
	found := map[string]string{}
	err = overlay.Read(ctx, mounts, func(root string) error {
		return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			found[strings.TrimPrefix(path, root)] = string(b)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// deepImage is a base image of so many layers, of which the lowest is the shell. Its other layers add a file each.
func (r *rig) deepImage(t *testing.T, layers int) (name string, want map[string]string) {
	t.Helper()
	shell, err := os.ReadFile(r.sh)
	if err != nil {
		t.Fatal(err)
	}
	all := []v1.Layer{layerOf(t, "bin/sh", string(shell))}
	want = map[string]string{}
	for n := 2; n <= layers; n++ {
		file, text := fmt.Sprintf("many/f%d", n), fmt.Sprintf("of layer %d\n", n)
		all = append(all, layerOf(t, file, text))
		want["/"+file] = text
	}
	img, err := mutate.AppendLayers(empty.Image, all...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", goruntime.GOARCH
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	got, err := r.images.Import(t.Context(), bytes.NewReader(imagestest.DockerSave(t, map[string]v1.Image{"deep:1": img})), nil)
	if err != nil {
		t.Fatal(err)
	}
	name = fmt.Sprintf("micro.local/deep:%d", layers)
	if err := r.images.Tag(t.Context(), got.Digest, name); err != nil {
		t.Fatal(err)
	}
	return name, want
}

// layerOf makes a layer of one file.
func layerOf(t *testing.T, name, text string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text)), ModTime: time.Unix(1_700_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(b.Bytes(), types.DockerUncompressedLayer)
}

// steps are those that make layers from one number to another, one each: they add, replace and delete files, by
// COPY and by RUN. They change want as they change the image.
func steps(from, to int, want map[string]string) (dockerfile string, files []string) {
	var b strings.Builder
	for n := from; n <= to; n++ {
		name, below, text := fmt.Sprintf("f%d", n), fmt.Sprintf("f%d", n-1), fmt.Sprintf("of layer %d\n", n)
		switch n % 3 {
		case 0:
			fmt.Fprintf(&b, "RUN echo of layer %d > /many/%s && rm /many/%s && echo replaced by %d > /many/last\n", n, name, below, n)
			delete(want, "/many/"+below)
			want["/many/last"] = fmt.Sprintf("replaced by %d\n", n)
		case 1: // with a file of the same size
			fmt.Fprintf(&b, "COPY d%d /many/\n", n)
			files = append(files, fmt.Sprintf("d%d/%s", n, name), text, fmt.Sprintf("d%d/%s", n, below), text)
			want["/many/"+below] = text
		default:
			fmt.Fprintf(&b, "COPY %s /many/\n", name)
			files = append(files, name, text)
		}
		want["/many/"+name] = text
	}
	return b.String(), files
}

// An image may have as many layers as the kernel stacks, with all files that its steps have left: below and above
// the numbers at which mounts used to end, and BuildKit's own begin to name layers otherwise.
func TestManySteps(t *testing.T) {
	r := newRig(t, nil)
	for _, n := range []struct{ base, layers int }{{115, 130}, {144, 155}, {290, 300}, {480, 499}} {
		name, want := r.deepImage(t, n.base)
		dockerfile, files := steps(n.base+1, n.layers-1, want)
		dockerfile = "FROM " + name + "\n" + dockerfile
		img, log, err := r.build(t, dockerfile+"RUN cat /many/last && cat /many/f2\n", files...)
		if err != nil {
			t.Fatalf("%d layers: %v\n%s", n.layers, err, log)
		}
		if !strings.HasSuffix(log, want["/many/last"]+want["/many/f2"]) {
			t.Errorf("%d layers: a step reads %q", n.layers, log)
		}
		found := r.files(t, img.Digest)
		delete(found, "/bin/sh")
		for name, text := range want {
			if got, ok := found[name]; got != text {
				t.Errorf("%d layers: %s has %q, %v; want %q", n.layers, name, got, ok, text)
			}
			delete(found, name)
		}
		if len(found) > 0 {
			t.Errorf("%d layers: more files than there should be: %v", n.layers, slices.Sorted(maps.Keys(found)))
		}
	}
	for _, kind := range []string{"RUN true", "COPY x /x"} {
		more, files := steps(481, 500, map[string]string{})
		_, _, err := r.build(t, "FROM micro.local/deep:480\n"+more+strings.Repeat(kind+"\n", 10), append(files, "x", "x")...)
		wantError(t, err, cloud.DeployFailed, kind, "layer 501 of the image", "500")
	}
}
