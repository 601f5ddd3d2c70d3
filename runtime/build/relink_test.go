package build_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/layer"
	"github.com/protoduction/micro/runtime/overlay"
)

// The layers of a built image are those of its build cache, linked, and have what their archives would unpack to: on
// another node they are unpacked.
func TestLayersAreLinked(t *testing.T) {
	r := newRig(t, nil)
	img, log, err := r.build(t, base+`
WORKDIR /app
COPY lib lib/
ADD vendor.tar vendor/
RUN mkdir made && echo old > made/old && echo x > made/x && own 1000 1000 made/x
RUN rm made/old && echo new > made/new && rm lib/a && rm lib && mkdir lib && echo again > lib/b
FROM scratch
COPY --from=0 / /
COPY --chown=7:8 lib /own
`, "lib/a", "a", "vendor.tar", vendorTar(t))
	if err != nil {
		t.Fatal(err, log)
	}
	ctx, client := r.engine.Context(t.Context()), r.engine.Client()
	store, service := client.ContentStore(), client.SnapshotService(engine.Snapshotter)
	var m ocispec.Manifest
	b, err := content.ReadBlob(ctx, store, ocispec.Descriptor{Digest: digest.Digest(img.Digest)})
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	var chain []digest.Digest
	for i, l := range m.Layers {
		chain = append(chain, l.Digest) // they are not compressed
		key := fmt.Sprintf("%s-%d", t.Name(), i)
		mounts, err := service.View(ctx, key, identity.ChainID(chain).String(), snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "test"}))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := service.Remove(ctx, key); err != nil {
				t.Error(err)
			}
		}()
		own, below := mounts[0].Source, []string(nil)
		if all := overlay.Layers(mounts[0]); len(all) > 0 {
			own, below = all[0], all[1:]
		}
		upper, work := t.TempDir(), t.TempDir()
		target := []mount.Mount{{Type: "bind", Source: upper, Options: []string{"rbind", "rw"}}}
		if len(below) > 0 {
			target = []mount.Mount{{Type: "overlay", Options: []string{"upperdir=" + upper, "workdir=" + work, "lowerdir=" + strings.Join(below, ":")}}}
		}
		if _, err := (layer.Applier{Store: store}).Apply(ctx, l, target); err != nil {
			t.Fatal(err)
		}
		got, linked := described(t, own)
		want, _ := described(t, upper)
		if linked == 0 {
			t.Errorf("layer %d: no file is linked", i)
		}
		for name, d := range want {
			if got[name] != d {
				t.Errorf("layer %d: %s is %q, unpacked %q", i, name, got[name], d)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("layer %d has more than its archive: %v", i, got)
		}
	}
}

// described returns all that is in a folder, with attributes and content, and how many files have several links.
func described(t *testing.T, dir string) (all map[string]string, linked int) {
	t.Helper()
	all = map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !e.IsDir() {
			linked++
		}
		hides := make([]byte, 8)
		n, _ := unix.Lgetxattr(path, "trusted.overlay.opaque", hides)
		d := fmt.Sprintf("%v %d:%d %s %x %q", info.Mode(), st.Uid, st.Gid, info.ModTime().UTC().Format(time.RFC3339Nano), st.Rdev, hides[:max(n, 0)])
		switch info.Mode().Type() {
		case 0:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			d += fmt.Sprintf(" %q", digest.FromBytes(b))
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			d += " " + to
		case fs.ModeDevice | fs.ModeCharDevice:
			d = "deleted" // the time of the mark means nothing
		}
		all[path[len(dir):]] = d
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, linked
}
