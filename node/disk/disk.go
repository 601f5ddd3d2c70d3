package disk

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/protoduction/micro/api"
)

// parts are the folders of a node's data with the names that users see.
var parts = []struct{ name, dir string }{
	{"images and containers", "containerd"}, {"build cache", "build"}, {"logs", "logs"}, {"volumes", "volumes"},
	{"uploads", "uploads"}, {"store", "store"}, {"reserve for repairs", reserveFile},
}

// Usage returns the free space of a node's disk, and the space that each part of its data uses.
func Usage(ctx context.Context, data string) (api.Disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(data, &st); err != nil {
		return api.Disk{}, fmt.Errorf("statfs %s: %w", data, err)
	}
	d := api.Disk{Path: data, Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize, Parts: []api.DiskPart{}}
	for _, p := range parts {
		bytes, err := sizeOf(ctx, filepath.Join(data, p.dir))
		if err != nil {
			return d, err
		}
		d.Parts = append(d.Parts, api.DiskPart{Name: p.name, Bytes: bytes})
	}
	return d, nil
}

// sizeOf returns the bytes of disk that the files below a folder use. It counts files with several links once.
func sizeOf(ctx context.Context, dir string) (total int64, err error) {
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err() // skip files that were just deleted
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || seen[file{st.Dev, st.Ino}] {
			return nil
		}
		seen[file{st.Dev, st.Ino}] = true
		total += st.Blocks * 512
		return nil
	})
	return total, err
}
