package images

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/images/imagestest"
)

type entry struct {
	h    tar.Header
	body []byte
}

func file(n string, body []byte) entry { return entry{tar.Header{Name: n, Mode: 0o644}, body} }

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		e.h.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type obj = map[string]any

// ociParts is an OCI layout of one image whose only layer is this tar, or what packs it.
func ociParts(t *testing.T, layer, plain []byte, layerType string) (entries []entry, manifest obj) {
	config := marshal(t, obj{"os": "linux", "architecture": "amd64", "config": obj{"Cmd": []string{"/app"}},
		"rootfs": obj{"type": "layers", "diff_ids": []string{"sha256:" + sum(plain)}}})
	m := marshal(t, obj{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": obj{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + sum(config), "size": len(config)},
		"layers": []obj{{"mediaType": layerType, "digest": "sha256:" + sum(layer), "size": len(layer)}}})
	desc := obj{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + sum(m), "size": len(m),
		"annotations": obj{"org.opencontainers.image.ref.name": "team/shop:7"}}
	return []entry{
		file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)),
		file("blobs/sha256/"+sum(layer), layer),
		file("blobs/sha256/"+sum(config), config),
		file("blobs/sha256/"+sum(m), m),
	}, desc
}

func index(t *testing.T, manifests ...obj) entry {
	return file("index.json", marshal(t, obj{"schemaVersion": 2, "manifests": manifests}))
}

const plainLayer = "application/vnd.oci.image.layer.v1.tar"

func gz(t *testing.T, b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func zst(t *testing.T, b []byte) []byte {
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

func TestImport(t *testing.T) {
	_, s := open(t, Config{})
	layer := tarOf(t, file("app", []byte("hello")))
	parts, desc := ociParts(t, layer, layer, plainLayer)
	oci := tarOf(t, append(parts, index(t, desc))...)
	zlayer := zst(t, layer)
	zparts, zdesc := ociParts(t, zlayer, layer, plainLayer+"+zstd")
	saved := imagestest.DockerSave(t, map[string]v1.Image{"team/shop:1": imagestest.Image(t, "amd64", map[string]string{"app": "x"})})
	twice := imagestest.Image(t, "amd64", map[string]string{"app": "twice"})
	for what, a := range map[string][]byte{
		"OCI layout": oci, "OCI layout, gzip": gz(t, oci), "OCI layout, zstd": zst(t, oci),
		"index first":   tarOf(t, append([]entry{index(t, desc)}, parts...)...),
		"zstd layer":    tarOf(t, append(zparts, index(t, zdesc))...),
		"docker save":   saved,
		"gzip":          gz(t, saved),
		"zstd":          zst(t, saved),
		"with dot path": tarOf(t, append(parts, index(t, desc), entry{h: tar.Header{Name: "./", Typeflag: tar.TypeDir}})...),
		"two names":     imagestest.DockerSave(t, map[string]v1.Image{"aa:1": twice, "bb:1": twice}),
	} {
		t.Run(what, func(t *testing.T) {
			img, err := s.Import(t.Context(), bytes.NewReader(a), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(t.Context(), img.Digest); err != nil {
				t.Fatal(err)
			}
			if img.Name == "" {
				t.Error("no name")
			}
			if err := s.Prune(t.Context(), nothing); err != nil {
				t.Fatal(err)
			}
			assertEmpty(t, s)
		})
	}
}

// Names in an archive must not become names that others' builds find.
func TestImportTakesNoNames(t *testing.T) {
	_, s := open(t, Config{})
	a := imagestest.DockerSave(t, map[string]v1.Image{"debian:latest": imagestest.Image(t, "amd64", map[string]string{"app": "evil"})})
	if _, err := s.Import(t.Context(), bytes.NewReader(a), nil); err != nil {
		t.Fatal(err)
	}
	all, err := s.client.ImageService().List(s.ns(t.Context()))
	if err != nil || len(all) != 1 || !strings.HasPrefix(all[0].Name, Name+"@") {
		t.Fatalf("%v, %v", all, err)
	}
}

func TestImportRefuses(t *testing.T) {
	_, s := open(t, Config{Limits: Limits{archive: 64 << 20, entries: 50, Unpacked: 32 << 20}})
	layer := tarOf(t, file("app", []byte("hello")))
	parts, desc := ociParts(t, layer, layer, plainLayer)
	good := tarOf(t, append(parts, index(t, desc))...)
	other := tarOf(t, file("app", []byte("other")))
	parts2, desc2 := ociParts(t, other, other, plainLayer)
	var many []entry
	for i := range 60 {
		many = append(many, file(fmt.Sprint("f", i), nil))
	}
	bomb := tarOf(t, file("zeros", make([]byte, 40<<20)))
	bombParts, bombDesc := ociParts(t, gz(t, bomb), bomb, plainLayer+"+gzip")
	wrongPlain, wrongDesc := ociParts(t, layer, other, plainLayer)
	arm := imagestest.DockerSave(t, map[string]v1.Image{"aa:1": imagestest.Image(t, "arm64", map[string]string{"app": "x"})})
	node := tarOf(t, entry{h: tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8}})
	nodeParts, nodeDesc := ociParts(t, node, node, plainLayer)
	deep := imagestest.Image(t, "amd64", map[string]string{"app": "x"})
	for range 500 {
		var err error
		if deep, err = mutate.AppendLayers(deep, static.NewLayer(layer, types.DockerUncompressedLayer)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what string
		a    []byte
		says string
	}{
		{"nothing", nil, "empty"},
		{"not a tar", []byte(strings.Repeat("garbage ", 1000)), "not a tar"},
		{"broken gzip", gz(t, good)[:200], "broke off"},
		{"cut short", good[:3000], "broke off"},
		{"neither format", tarOf(t, file("README", []byte("hi"))), "unrecognized"},
		{"no index", tarOf(t, parts...), "index.json"},
		{"two images", tarOf(t, append(append(parts, parts2[1:]...), index(t, desc, desc2))...), "2 images"},
		{"no image", tarOf(t, parts[0], index(t)), "no image"},
		{"a blob is missing", tarOf(t, parts[0], parts[2], parts[3], index(t, desc)), "lacks sha256:" + sum(layer)},
		{"a blob is another", tarOf(t, parts[0], file(parts[1].h.Name, other), parts[2], parts[3], index(t, desc)), "lacks sha256:" + sum(layer)},
		{"too many entries", tarOf(t, many...), "50 entries"},
		{"absolute path", tarOf(t, file("/etc/passwd", nil)), "leads out"},
		{"parent path", tarOf(t, file("a/../../etc/passwd", nil)), "leads out"},
		{"link out", tarOf(t, entry{h: tar.Header{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "../../etc/passwd"}}), "leads out"},
		{"device", tarOf(t, entry{h: tar.Header{Name: "x", Typeflag: tar.TypeBlock}}), "neither file nor folder"},
		{"layer too large", tarOf(t, append(bombParts, index(t, bombDesc))...), "more than an image may hold"},
		{"zeros", zst(t, make([]byte, 80<<20)), "empty"},
		{"archive of one huge entry", zst(t, tarOf(t, file("x", make([]byte, 80<<20)))), "larger than the 64 MiB"},
		{"files are not what the config says", tarOf(t, append(wrongPlain, index(t, wrongDesc))...), "does not unpack"},
		{"a device node in a layer", tarOf(t, append(nodeParts, index(t, nodeDesc))...), "layer 1: \"dev/sda\" is a device node (block 8:0)"},
		{"more layers than the kernel stacks", imagestest.DockerSave(t, map[string]v1.Image{"aa:1": deep}), "has 501 layers, and the kernel stacks 500"},
		{"other platform", arm, "linux/arm64"},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := s.Import(t.Context(), bytes.NewReader(c.a), nil)
			wantCode(t, err, cloud.Invalid, c.says)
			assertEmpty(t, s)
		})
	}
}

// A layer's own paths are containerd's to keep inside; this is to see that it does.
func TestImportHostileLayer(t *testing.T) {
	_, s := open(t, Config{})
	layer := tarOf(t,
		entry{h: tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/"}},
		file("out/tmp/micro-escaped", []byte("x")),
		file("../../../../../../tmp/micro-escaped", []byte("x")),
	)
	parts, desc := ociParts(t, layer, layer, plainLayer)
	_, err := s.Import(t.Context(), bytes.NewReader(tarOf(t, append(parts, index(t, desc))...)), nil)
	if err != nil {
		t.Log("refused:", err)
	}
	mustNotExist(t, "/tmp/micro-escaped")
}

func TestImportCancelled(t *testing.T) {
	_, s := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	layer := tarOf(t, file("app", []byte("hello")))
	r := io.MultiReader(bytes.NewReader(layer[:512]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, context.Canceled
	}))
	_, err := s.Import(ctx, r, nil)
	wantCode(t, err, cloud.Interrupted)
	assertEmpty(t, s)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
