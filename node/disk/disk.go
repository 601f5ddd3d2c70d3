package disk

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/protoduction/micro/api"
)

// layers measures the layers below the folder containerd, in bytes.
type layers func(ctx context.Context) (images, cache int64, err error)

// folders of a node's data, with the names that users see. Builds link to uploads, which come first therefore.
var folders = []struct{ name, dir string }{
	{"uploads", "uploads"}, {"containers", "containerd"}, {"build cache", "build"}, {"logs", "logs"},
	{"volumes", "volumes"}, {"store", "store"}, {"reserve for repairs", reserveFile},
}

// Usage returns the free space of a node's disk, and the space that each part of its data uses.
func Usage(ctx context.Context, data string, measure layers) (api.Disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(data, &st); err != nil {
		return api.Disk{}, fmt.Errorf("statfs %s: %w", data, err)
	}
	images, cache, err := measure(ctx)
	if err != nil {
		return api.Disk{}, err
	}
	d := api.Disk{
		Path: data, Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize,
		Parts: []api.DiskPart{{Name: "images", Bytes: images}},
	}
	seen := links{}
	for _, f := range folders {
		bytes, err := seen.sizeOf(ctx, filepath.Join(data, f.dir))
		if err != nil {
			return d, err
		}
		switch f.dir {
		case "containerd": // has the layers too
			bytes = max(0, bytes-images-cache)
		case "build": // its layers are containerd's
			bytes += cache
		}
		d.Parts = append(d.Parts, api.DiskPart{Name: f.name, Bytes: bytes})
	}
	return d, nil
}

// Prunable returns how many bytes the parts use that prune makes smaller.
func Prunable(d api.Disk) (total int64) {
	for _, p := range d.Parts {
		switch p.Name {
		case "images", "uploads", "containers", "build cache":
			total += p.Bytes
		}
	}
	return total
}

// links are files with several links that have been counted.
type links map[inode]bool

type inode struct{ dev, ino uint64 }

// sizeOf returns the bytes of disk that the files below a folder use, without those counted before.
func (l links) sizeOf(ctx context.Context, dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err() // skip files that were just deleted
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || l[inode{st.Dev, st.Ino}] {
			return nil
		}
		if st.Nlink > 1 && !e.IsDir() {
			l[inode{st.Dev, st.Ino}] = true
		}
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
