package images

import (
	"bytes"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/images/imagestest"
)

// TestExport: an image that is exported is the same where it is imported, also without what the other side has.
func TestExport(t *testing.T) {
	_, from := open(t, Config{})
	_, to := open(t, Config{})
	image, err := from.Import(t.Context(), bytes.NewReader(imagestest.DockerSave(t, map[string]v1.Image{"shop:1": imagestest.Image(t, "amd64", map[string]string{"app": "x"})})), nil)
	if err != nil {
		t.Fatal(err)
	}
	export := func(without map[string]bool) *bytes.Buffer {
		t.Helper()
		var b bytes.Buffer
		if err := from.Export(t.Context(), image.Digest, without, &b); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	whole := export(nil)
	if !bytes.Equal(whole.Bytes(), export(nil).Bytes()) {
		t.Error("two exports differ")
	}
	blobs, err := from.Blobs(t.Context(), image.Digest)
	if err != nil || len(blobs) != 3 {
		t.Fatalf("%v, %v", blobs, err)
	}
	layer := blobs[2].Digest
	part := export(map[string]bool{layer: true})
	if part.Len() >= whole.Len() {
		t.Errorf("without a layer there are %d bytes of %d", part.Len(), whole.Len())
	}
	if _, err := to.Import(t.Context(), bytes.NewReader(part.Bytes()), nil); cloud.CodeOf(err) != cloud.Invalid {
		t.Errorf("a layer is missing: %v", err)
	}
	for _, archive := range []*bytes.Buffer{whole, part} {
		got, err := to.Import(t.Context(), archive, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest != image.Digest {
			t.Errorf("got %s, not %s", got.Digest, image.Digest)
		}
	}
	if err := from.Export(t.Context(), "sha256:0000000000000000000000000000000000000000000000000000000000000000", nil, &bytes.Buffer{}); cloud.CodeOf(err) != cloud.NotFound {
		t.Errorf("an unknown image: %v", err)
	}
}
