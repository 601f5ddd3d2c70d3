package containers

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/overlay"
)

// image is what Start needs of an image. It is immutable, because an image is identified by its digest.
type image struct {
	config        ocispec.ImageConfig
	chain         string // the snapshot of its layers
	passwd, group []byte
	shell         bool // it has a /bin/sh
}

// imageCache caches images, so that only the first start of an image must mount it to read its files.
type imageCache struct {
	mu  sync.Mutex // guards all
	all map[string]*image
}

// maxImages limits the cache; an image takes a few KiB.
const maxImages = 200

func (ic *imageCache) get(ctx context.Context, c *client.Client, d string) (*image, error) {
	ic.mu.Lock()
	im := ic.all[d]
	ic.mu.Unlock()
	if im != nil {
		return im, nil
	}
	im, err := readImage(ctx, c, d)
	if err != nil {
		return nil, err
	}
	ic.mu.Lock()
	defer ic.mu.Unlock()
	if ic.all == nil || len(ic.all) >= maxImages {
		ic.all = map[string]*image{}
	}
	ic.all[d] = im
	return im, nil
}

func (ic *imageCache) forget(d string) {
	ic.mu.Lock()
	defer ic.mu.Unlock()
	delete(ic.all, d)
}

func noImage(d string) error {
	return cloud.Errorf(cloud.NotFound, "image %s is not on this node", d).WithHint("push it again")
}

func readImage(ctx context.Context, c *client.Client, d string) (*image, error) {
	var manifest ocispec.Manifest
	var config ocispec.Image
	if err := readBlob(ctx, c.ContentStore(), d, &manifest); err != nil {
		return nil, err
	}
	if err := readBlob(ctx, c.ContentStore(), manifest.Config.Digest.String(), &config); err != nil {
		return nil, err
	}
	im := &image{config: config.Config, chain: identity.ChainID(config.RootFS.DiffIDs).String()}
	return im, im.readAccounts(ctx, c, d)
}

func readBlob(ctx context.Context, store content.Store, d string, v any) error {
	parsed, err := digest.Parse(d)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "image %q: %w", d, err)
	}
	b, err := content.ReadBlob(ctx, store, ocispec.Descriptor{Digest: parsed})
	if errdefs.IsNotFound(err) {
		return noImage(d)
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", d, err)
	}
	return nil
}

// readAccounts mounts the image temporarily and reads its passwd and group files, and whether it has a shell.
func (im *image) readAccounts(ctx context.Context, c *client.Client, d string) error {
	store, key := c.SnapshotService(engine.Snapshotter), accountsPrefix+crand.Text()
	mounts, err := store.View(ctx, key, im.chain, snapshots.WithLabels(map[string]string{"containerd.io/gc.root": "look"}))
	if errdefs.IsNotFound(err) {
		return noImage(d)
	}
	if err != nil {
		return fmt.Errorf("look into image %s: %w", d, err)
	}
	err = overlay.Read(ctx, mounts, func(path string) error {
		root, err := os.Open(path)
		if err != nil {
			return err
		}
		defer root.Close()
		if im.passwd, err = readIn(root, "etc/passwd"); err != nil {
			return err
		}
		if im.group, err = readIn(root, "etc/group"); err != nil {
			return err
		}
		sh, err := openIn(root, "bin/sh")
		if err == nil {
			im.shell = true
			sh.Close()
		}
		return nil
	})
	if err := errors.Join(err, store.Remove(context.WithoutCancel(ctx), key)); err != nil {
		return fmt.Errorf("look into image %s: %w", d, err)
	}
	return nil
}

// accountsPrefix begins the names of the temporary snapshots of readAccounts.
const accountsPrefix = "look-"

// execUser is the user of a process, with the container's own IDs.
type execUser struct {
	uid, gid   uint32
	additional []uint32
	home, name string
}

func (u execUser) spec() specs.User {
	return specs.User{UID: u.uid, GID: u.gid, AdditionalGids: u.additional}
}

// user resolves "user[:group]", by name or number; "" is the image's user.
func (im *image) user(who string) (execUser, error) {
	if who == "" {
		who = im.config.User
	}
	return findUser(who, im.passwd, im.group)
}

func findUser(who string, passwd, group []byte) (execUser, error) {
	u, err := user.GetExecUser(who, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return execUser{}, cloud.Errorf(cloud.Invalid, "user %q: %w", who, err)
	}
	if u.Uid >= maxID || u.Gid >= maxID {
		return execUser{}, cloud.Errorf(cloud.Invalid, "user %q: IDs in a container must be below %d", who, maxID)
	}
	x := execUser{uid: uint32(u.Uid), gid: uint32(u.Gid), home: u.Home}
	seen := map[uint32]bool{}
	for _, g := range append([]int{u.Gid}, u.Sgids...) {
		if g < maxID && !seen[uint32(g)] {
			seen[uint32(g)] = true
			x.additional = append(x.additional, uint32(g))
		}
	}
	if all, err := user.ParsePasswdFilter(bytes.NewReader(passwd), func(p user.User) bool { return p.Uid == u.Uid }); err == nil && len(all) > 0 {
		x.name = all[0].Name
		if want, _, _ := strings.Cut(who, ":"); want != "" {
			for _, p := range all {
				if p.Name == want {
					x.name = want
				}
			}
		}
	}
	return x, nil
}

// maxFile limits the size of passwd and group, which come from the image.
const maxFile = 4 << 20

// readIn reads a file below root. A missing or irregular file reads as empty.
func readIn(root *os.File, name string) ([]byte, error) {
	f, err := openIn(root, name)
	if err != nil {
		return nil, nil // like an empty file, so that only numeric IDs are known
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(root.Name(), name), err)
	}
	return b, nil
}
