package node

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/node/memory"
)

// Info implements the API's handler.Status.
func (n *Node) Info() api.Node {
	info := api.Node{
		Name: n.cfg.Name, Version: n.cfg.Version.Version, PID: os.Getpid(), Data: n.cfg.Data, Domain: n.cfg.Domain,
		Socket: n.data.Path("micro.sock"), Gateway: n.net.Gateway().String(), Subnet: n.net.Subnet().String(),
		Started: n.started.UTC(), Memory: memory.Resident(), HTTP: []string{}, Public: []string{}, DNS: []string{},
	}
	for _, a := range n.internal {
		info.HTTP = append(info.HTTP, a.String())
	}
	for _, ln := range n.public {
		info.Public = append(info.Public, ln.Addr().String())
	}
	for _, a := range n.cfg.DNS {
		info.DNS = append(info.DNS, a.String())
	}
	if w := n.waiting.Load(); w != nil {
		info.Waiting = *w
	} else {
		info.Ready = true
	}
	return info
}

// status is one line of what the node is, for systemd.
func (n *Node) status() string {
	apps := 0
	for range n.snapshots.View().State.Apps("") {
		apps++
	}
	return fmt.Sprintf("apps: %d, instances: %d, on %s", apps, n.snapshots.View().Instances.Len(), n.internal[0])
}

// diskParts are the folders of a node's data, by what people call them.
var diskParts = []struct{ name, dir string }{
	{"images and containers", "containerd"}, {"build cache", "build"}, {"logs", "logs"}, {"volumes", "volumes"},
	{"uploads", "uploads"}, {"store", "store"},
}

// Disk implements the API's handler.Disk.
func (n *Node) Disk(ctx context.Context) (api.Disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(n.cfg.Data, &st); err != nil {
		return api.Disk{}, fmt.Errorf("statfs %s: %w", n.cfg.Data, err)
	}
	d := api.Disk{Path: n.cfg.Data, Total: int64(st.Blocks) * st.Bsize, Free: int64(st.Bavail) * st.Bsize, Parts: []api.DiskPart{}}
	for _, p := range diskParts {
		bytes, err := usage(ctx, n.data.Path(p.dir))
		if err != nil {
			return d, err
		}
		d.Parts = append(d.Parts, api.DiskPart{Name: p.name, Bytes: bytes})
	}
	return d, nil
}

// usage is how many bytes of disk the files below a folder take, each counted once.
func usage(ctx context.Context, dir string) (total int64, err error) {
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return ctx.Err() // what goes while it is being counted takes no room
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

// Down makes the node take itself off this machine: apps end, and what micro made on the host goes. The
// data stays, and the next start runs what ran.
func (n *Node) Down() {
	n.downOnce.Do(func() { close(n.down) })
}
