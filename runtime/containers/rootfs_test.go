package containers

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/images/imagestest"
)

type entry struct {
	tar.Header
	text string
}

// layerOf makes a layer.
func layerOf(t *testing.T, entries ...entry) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size, e.Typeflag = int64(len(e.text)), tar.TypeReg
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(b.Bytes(), types.DockerUncompressedLayer)
}

// probeImage returns an image of the probe, as /probe.
func probeImage(t *testing.T) (img v1.Image, probe string) {
	t.Helper()
	b, err := os.ReadFile(helpers + "/bin/probe")
	if err != nil {
		t.Fatal(err)
	}
	img = imagestest.Image(t, "amd64", map[string]string{"probe": string(b), "etc/passwd": "app:x:1000:1000::/:/bin/sh\n"})
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.Config = v1.Config{Entrypoint: []string{"/probe"}}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img, string(b)
}

// importImage has a node take an image with more layers, which its next containers have.
func (r *rig) importImage(img v1.Image, layers ...v1.Layer) {
	r.t.Helper()
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := images.Open(r.t.Context(), images.Config{Engine: r.engine})
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := s.Import(r.t.Context(), bytes.NewReader(imagestest.DockerSave(r.t, map[string]v1.Image{"many:1": img})), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.image = got.Digest
}

// A container has all files of an image of as many layers as the kernel stacks: those that were added, replaced
// and deleted, with their content.
func TestManyLayers(t *testing.T) {
	r := newRig(t)
	img, _ := probeImage(t)
	var layers []v1.Layer
	want := map[string]string{}
	for n := 2; n <= 500; n++ {
		name := fmt.Sprintf("many/f%d", n)
		entries := []entry{
			{tar.Header{Name: name, Mode: 0o644}, fmt.Sprintf("of layer %d", n)},
			{tar.Header{Name: "many/last", Mode: 0o644}, fmt.Sprint(n)},
		}
		want[name], want["many/last"] = entries[0].text, entries[1].text
		switch n % 10 {
		case 3: // replaces a file of the layer below
			below := fmt.Sprintf("many/f%d", n-1)
			want[below] = fmt.Sprintf("replaced by %d", n)
			entries = append(entries, entry{tar.Header{Name: below, Mode: 0o644}, want[below]})
		case 7: // deletes one
			below := fmt.Sprintf("many/f%d", n-1)
			delete(want, below)
			entries = append(entries, entry{tar.Header{Name: fmt.Sprintf("many/.wh.f%d", n-1)}, ""})
		}
		layers = append(layers, layerOf(t, entries...))
		if !slices.Contains([]int{150, 300, 499, 500}, n) {
			continue
		}
		r.importImage(img, layers...)
		printed, x := r.run(r.container("files", "/many"))
		var lines strings.Builder
		for _, f := range slices.Sorted(maps.Keys(want)) {
			fmt.Fprintf(&lines, "/%s: %s\n", f, want[f])
		}
		if x.Code != 0 || printed != lines.String() {
			t.Fatalf("%d layers: exit %+v, printed\n%s\nwant\n%s", n, x, printed, lines.String())
		}
	}
}

// What an image brings along has no power: a program with a capability that no container has starts, without it,
// and a set-user-ID bit makes nobody root. A file of an ID that no container has can be worked with.
func TestFilesHaveNoPower(t *testing.T) {
	r := newRig(t)
	img, probe := probeImage(t)
	capability := map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} // cap_net_raw=ep
	r.importImage(img, layerOf(t,
		entry{tar.Header{Name: "ping", Mode: 0o755, PAXRecords: capability, Format: tar.FormatPAX}, probe},
		entry{tar.Header{Name: "su", Mode: 0o4755}, probe},
		entry{tar.Header{Name: "large", Mode: 0o600, Uid: 197609, Gid: 1049089}, "x"},
	))
	for _, program := range []string{"/ping", "/su"} {
		c := r.container()
		c.Args, c.User = []string{program, "report"}, "app"
		printed, x := r.run(c)
		if x.Code != 0 {
			t.Errorf("%s: exit %+v: %s", program, x, printed)
		}
		assertLines(t, printed, "uid 1000 gid 1000", "CapEff: 0000000000000000", "raw socket: operation not permitted")
	}
	if printed, x := r.run(r.container("own", "/large")); x.Code != 0 || printed != "65534:65534, then 1000:1000\n" {
		t.Errorf("exit %+v: %s", x, printed)
	}
}
