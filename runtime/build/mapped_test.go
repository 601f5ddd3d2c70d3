package build_test

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/protoduction/micro/cloud"
)

// Root of a step is nobody on the host, and what it makes has the owners that it gave all the same:
// the next step, the image and a cache mount see them. The cache is locked because BuildKit makes another
// one, empty, where its collector measures the one that there is at that moment.
func TestStepsAreNobody(t *testing.T) {
	r := newRig(t, nil)
	img, log, err := r.build(t, base+`
COPY --chown=12:34 note /copied
RUN cat /proc/self/uid_map && own 1000 100 /made && setuid /made && filecap /made
RUN owner /copied && owner /made && own 33 33 /copied
RUN --mount=type=cache,target=/cache,uid=7,gid=8,sharing=locked owner /cache && own 55 66 /cache/kept
RUN --mount=type=cache,target=/cache,uid=7,gid=8,sharing=locked owner /cache/kept
RUN --mount=type=bind,source=/note,target=/bound owner /bound
USER 1000:100
WORKDIR /work/dir
RUN echo mine > mine
`, "note", "n")
	if err != nil {
		t.Fatal(err, log)
	}
	for _, want := range []string{
		"0 4294836224      65536", "/copied 12:34 -rw-r--r--", "/made 1000:100 urwxr-xr-x", "/cache 7:8 drwxr-xr-x",
		"/cache/kept 55:66 -rwxr-xr-x", "/bound 0:0 -rw-r--r--",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	got := r.owners(t, img.Digest)
	for name, want := range map[string][2]int{
		"made": {1000, 100}, "copied": {33, 33}, "work/dir": {1000, 100}, "work/dir/mine": {1000, 100}, "bin/sh": {0, 0},
	} {
		h := got[name]
		if h == nil || h.Uid != want[0] || h.Gid != want[1] {
			t.Errorf("%s in the image: %+v, want owner %v", name, h, want)
		}
	}
	if h := got["made"]; h != nil && (h.Mode&0o4000 == 0 || len(h.PAXRecords["SCHILY.xattr.security.capability"]) != 20) {
		t.Errorf("made in the image: mode %o, %q", h.Mode, h.PAXRecords) // 20 bytes: version 2, of no namespace
	}
	r.assertClean(t)
}

// What takes root of the host is refused, and says so.
func TestStepsMayNot(t *testing.T) {
	r := newRig(t, nil)
	for _, step := range []string{
		"mknod /disk", "mount", "cat /proc/kcore", "cat /proc/sysrq-trigger", "echo 1 > /proc/sys/kernel/panic", "own 70000 0 /x",
	} {
		_, _, err := r.build(t, base+"RUN "+step+"\n")
		wantError(t, err, cloud.DeployFailed, step)
	}
	for _, flag := range []string{"--security=insecure", "--network=host"} {
		_, _, err := r.build(t, base+"RUN "+flag+" true\n")
		wantError(t, err, cloud.DeployFailed)
	}
}

// An archive that was packed by an ID which no step has is one that a step can work with, and so can the app.
func TestArchiveOfALargeID(t *testing.T) {
	r := newRig(t, nil)
	img, log, err := r.build(t, base+`
ADD vendor.tar /app/
RUN owner /app/vendor/run.sh && own 1000 1000 /app/vendor/run.sh
ADD vendor.tar /again/
`, "vendor.tar", vendorTar(t))
	if err != nil {
		t.Fatal(err, log)
	}
	if !strings.Contains(log, "/app/vendor/run.sh 65534:65534 urwxr-xr-x") {
		t.Error(log)
	}
	for name, id := range map[string]int{"app/vendor/run.sh": 1000, "again/vendor/run.sh": 65534} {
		if got := r.owners(t, img.Digest)[name]; got == nil || got.Uid != id || got.Gid != id || got.Mode&0o4000 == 0 && id != 1000 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// vendorTar is an archive whose file belongs to IDs that no container has.
func vendorTar(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "vendor/run.sh", Mode: 0o4755, Uid: 197609, Gid: 1049089, Size: 2}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hi")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A step runs without rights that neither it nor an app needs: what a file's bits or capabilities promise does
// not come true, and a program with a capability that no container has starts all the same.
func TestStepsAreConfined(t *testing.T) {
	r := newRig(t, nil)
	_, log, err := r.build(t, base+`
RUN status CapBnd CapEff NoNewPrivs && aio
RUN filecap /bin/sh 13
RUN ["/bin/sh", "status", "CapEff"]
USER 1000
RUN status CapEff
`)
	if err != nil {
		t.Fatal(err, log)
	}
	// SETPCAP, NET_BIND_SERVICE, SETFCAP, SYS_CHROOT and seven of the first eight.
	if want := "CapEff: 00000000800405fb\nCapBnd: 00000000800405fb\nNoNewPrivs: 1\nio_setup: function not implemented\n"; !strings.Contains(log, want) {
		t.Errorf("no %q in %s", want, log)
	}
	if !strings.HasSuffix(log, "CapEff: 0000000000000000\n") {
		t.Error(log)
	}
}

// owners are the files of an image's layers as other machines would be given them.
func (r *rig) owners(t *testing.T, d string) map[string]*tar.Header {
	t.Helper()
	ctx, store := r.engine.Context(t.Context()), r.engine.Client().ContentStore()
	info, err := store.Info(ctx, digest.Digest(d))
	if err != nil {
		t.Fatal(err)
	}
	m, err := images.Manifest(ctx, store, ocispec.Descriptor{Digest: info.Digest, Size: info.Size, MediaType: ocispec.MediaTypeImageManifest}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*tar.Header{}
	for _, layer := range m.Layers {
		blob, err := content.ReadBlob(ctx, store, layer)
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(bytes.NewReader(blob)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all[path.Clean(h.Name)] = h
		}
	}
	return all
}
