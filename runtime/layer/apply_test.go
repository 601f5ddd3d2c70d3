package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	digest "github.com/opencontainers/go-digest"

	"github.com/protoduction/micro/cloud"
)

func packed(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// apply writes an archive into a folder, over a mount or as the upper layer of an overlay.
func apply(t *testing.T, data []byte, overlay bool) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	mounts := []mount.Mount{{Type: "bind", Source: dir, Options: []string{"rbind", "rw"}}}
	if overlay {
		mounts = []mount.Mount{{Type: "overlay", Source: "overlay", Options: []string{"upperdir=" + dir, "workdir=" + t.TempDir(), "lowerdir=" + t.TempDir()}}}
	}
	d, err := Apply(t.Context(), bytes.NewReader(data), mounts)
	if err == nil && (d.Size != int64(len(data)) || d.Digest != digest.FromBytes(data)) {
		t.Errorf("described as %+v", d)
	}
	return dir, err
}

// Everything that is written belongs to an ID that a container has; bits that have no effect there stay, and
// device nodes that each container has of its own are left out.
func TestApply(t *testing.T) {
	data := append(packed(t,
		tar.Header{Name: "kept", Uid: 33, Gid: 65535, Mode: 0o644},
		tar.Header{Name: "corporate", Uid: 197609, Gid: 1 << 31, Mode: 0o644},
		tar.Header{Name: "su", Mode: 0o4755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}},
		tar.Header{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		tar.Header{Name: "dev/ptmx", Typeflag: tar.TypeChar, Devmajor: 5, Devminor: 2},
		tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o644},
	), make([]byte, 4096)...) // what stands behind the end counts for the digest
	for _, overlay := range []bool{false, true} {
		dir, err := apply(t, data, overlay)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][2]uint32{"kept": {33, 65535}, "corporate": {nobody, nobody}, "su": {0, 0}, "pipe": {0, 0}} {
			info, err := os.Lstat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != want[0] || st.Gid != want[1] {
				t.Errorf("%s belongs to %d:%d, want %v", name, st.Uid, st.Gid, want)
			}
			if name == "su" && info.Mode()&os.ModeSetuid == 0 {
				t.Errorf("su has mode %v", info.Mode())
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "dev", "*")); len(left) > 0 {
			t.Errorf("device nodes were written: %v", left)
		}
	}
}

func TestApplyRefusesDevices(t *testing.T) {
	for what, h := range map[string]tar.Header{
		"block 8:0":      {Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8},
		"block 1:3":      {Name: "x", Typeflag: tar.TypeBlock, Devmajor: 1, Devminor: 3},
		"character 1:1":  {Name: "mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1},
		"character 10:1": {Name: "a/b", Typeflag: tar.TypeChar, Devmajor: 10, Devminor: 1},
	} {
		dir, err := apply(t, packed(t, h), true)
		if cloud.CodeOf(err) != cloud.Invalid || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), h.Name) || cloud.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, h.Name)); err == nil {
			t.Errorf("%s was written", what)
		}
	}
}

func TestDecompress(t *testing.T) {
	for _, tt := range []struct{ packed, want string }{
		{"plain", "plain"}, {"", ""},
		{"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xc8\x04\x00\xac\x2a\x93\xd8\x02\x00\x00\x00", "hi"},
	} {
		r, err := Decompress(strings.NewReader(tt.packed))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != tt.want || err != nil {
			t.Errorf("%q: %q, %v", tt.packed, got, err)
		}
		r.Close()
	}
}
