package node

import (
	"context"
	"io"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/imagecopies"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/images"
)

// imageStore gives the API access to the node's images, and to those of other nodes.
type imageStore struct {
	*images.Store
	copies *imagecopies.Copies
}

func (i imageStore) Blobs(ctx context.Context, digest string) ([]runtime.Blob, error) {
	if _, err := i.copies.Get(ctx, digest); err != nil {
		return nil, err
	}
	return i.Store.Blobs(ctx, digest)
}

func (i imageStore) Pull(ctx context.Context, name string, progress func(runtime.Progress)) (runtime.Image, error) {
	return i.copies.Pull(ctx, name, progress)
}

// Load implements handler.Images.
func (i imageStore) Load(ctx context.Context, archive io.Reader, progress func(runtime.Progress)) (runtime.Image, error) {
	image, err := i.Import(ctx, archive, progress)
	if err != nil {
		return image, err
	}
	if image.Name == "" {
		return image, cloud.Errorf(cloud.Invalid, "the image in the archive has no name, so that FROM could not refer to it").
			WithHint("save it with a name, for example docker save NAME:TAG")
	}
	image.Name, err = images.FullName(image.Name)
	return image, err
}

func (i imageStore) FullName(name string) (string, error) { return images.FullName(name) }

// ApplyNames implements handler.Images.
func (i imageStore) ApplyNames(ctx context.Context) { i.copies.ApplyNames(ctx) }

// namingBuilder builds when this node knows all images that have names, for FROM lines.
type namingBuilder struct {
	runtime.Builder
	copies *imagecopies.Copies
}

func (b namingBuilder) Build(ctx context.Context, what runtime.Build) (runtime.Image, error) {
	b.copies.ApplyNames(ctx) // one that cannot be given, this build may not need
	return b.Builder.Build(ctx, what)
}

// adoptImageNames writes names into the state that images have on this node alone.
func (n *Node) adoptImageNames(ctx context.Context, digests map[string]string) error {
	_, err := n.store.Update(ctx, cloud.Actor{Name: "micro"}, "name-images", "node "+string(n.cfg.Name), func(s *cloud.State) ([]cloud.Change, error) {
		return s.AdoptImageNames(digests), nil
	})
	return err
}
