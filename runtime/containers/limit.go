package containers

import (
	"context"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/disk"
	"github.com/protoduction/micro/runtime/engine"
)

// LimitDisk makes the file system enforce a limit on the container's own files, if it has project quotas.
func (d *Driver) LimitDisk(ctx context.Context, id string, limit runtime.Usage) (kept bool, err error) {
	if _, err := d.lookup(id); err != nil {
		return false, err
	}
	project, err := d.project(d.engine.Context(ctx), id)
	if err != nil || project == 0 {
		return false, err
	}
	return true, disk.SetLimit(d.engine.Snapshots(), project, disk.Usage(limit))
}

// DiskUsed returns the usage of the file system of the snapshots.
func (d *Driver) DiskUsed(context.Context) (runtime.Usage, error) {
	used, err := disk.Used(d.engine.Snapshots())
	return runtime.Usage(used), err
}

// KeepsDiskLimits reports whether the file system enforces limits on containers' own files.
func (d *Driver) KeepsDiskLimits() bool { return disk.EnforcesProjects(d.engine.Snapshots()) }

// limitSnapshot makes a container's snapshot, which must be empty, a project with a limit.
func (d *Driver) limitSnapshot(ctx context.Context, id string, limit runtime.Usage) error {
	if !d.KeepsDiskLimits() {
		return nil
	}
	upper, work, err := d.layer(ctx, id)
	if err != nil {
		return err
	}
	root := d.engine.Snapshots()
	project, err := freeProject(root, upper)
	if err != nil {
		return err
	}
	// Both folders must be in the project: overlayfs moves files between them, which the kernel refuses across projects.
	for _, dir := range []string{upper, work} {
		if err := disk.SetProject(dir, project); err != nil {
			return err
		}
	}
	return disk.SetLimit(root, project, disk.Usage(limit))
}

// project returns the project of a container's own files; 0 if the file system does not count them.
func (d *Driver) project(ctx context.Context, id string) (disk.Project, error) {
	if !d.KeepsDiskLimits() {
		return 0, nil
	}
	upper, _, err := d.layer(ctx, id)
	if err != nil || upper == "" {
		return 0, err
	}
	return disk.ProjectOf(upper)
}

// layer returns the two folders of a container's own files; "" if it has no snapshot.
func (d *Driver) layer(ctx context.Context, id string) (upper, work string, err error) {
	mounts, err := d.engine.Client().SnapshotService(engine.Snapshotter).Mounts(ctx, id)
	if errdefs.IsNotFound(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	for _, m := range mounts {
		for _, o := range m.Options {
			if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
				upper = dir
			}
			if dir, ok := strings.CutPrefix(o, "workdir="); ok {
				work = dir
			}
		}
	}
	if upper == "" || work == "" {
		return "", "", fmt.Errorf("snapshot %s has no writable layer", id)
	}
	return upper, work, nil
}

// Project IDs start at 2^30, with a million for each node on the file system: administrators and other programs use lower
// ones.
const (
	firstProject    = 1 << 30
	projectsOfANode = 1 << 20
)

// freeProject returns an unused project ID: the one derived from the snapshot's number, or a later one.
func freeProject(root, upper string) (disk.Project, error) {
	n, err := strconv.ParseUint(filepath.Base(filepath.Dir(upper)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse the number of snapshot %s: %w", upper, err)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(root)) // never fails
	first := firstProject + h.Sum32()%1000*projectsOfANode
	for range 1000 {
		project := disk.Project(first + uint32(n%projectsOfANode))
		used, limited, err := disk.ProjectUsage(root, project)
		if err != nil || used.Files == 0 && !limited {
			return project, err
		}
		n++
	}
	return 0, fmt.Errorf("no free project ID for %s", upper)
}
