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

// LimitDisk has the file system keep a limit on the container's own files, where it has project quotas.
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

// DiskUsed returns what is in use of the file system that snapshots are on.
func (d *Driver) DiskUsed(context.Context) (runtime.Usage, error) {
	used, err := disk.Used(d.engine.Snapshots())
	return runtime.Usage(used), err
}

// KeepsDiskLimits says whether the file system keeps limits on what containers write, so that no more fits.
func (d *Driver) KeepsDiskLimits() bool { return disk.EnforcesProjects(d.engine.Snapshots()) }

// limitSnapshot makes a container's snapshot, in which nothing is yet, a project of its own.
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
	// Both: files are made in the one and moved to the other, which the kernel refuses between projects.
	for _, dir := range []string{upper, work} {
		if err := disk.SetProject(dir, project); err != nil {
			return err
		}
	}
	return disk.SetLimit(root, project, disk.Usage(limit))
}

// project returns the number by which the file system counts a container's own files, 0 where it does not.
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

// layer returns the two folders on the disk that a container's own files are in; "" where it has no snapshot.
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
		return "", "", fmt.Errorf("snapshot %s has no layer of its own", id)
	}
	return upper, work, nil
}

// Project numbers from 2^30 on, a million for each node on the file system: the lower ones are in use by people
// and by other programs.
const (
	firstProject    = 1 << 30
	projectsOfANode = 1 << 20
)

// freeProject finds a number that nothing is counted by: the snapshot's own, or a later one.
func freeProject(root, upper string) (disk.Project, error) {
	n, err := strconv.ParseUint(filepath.Base(filepath.Dir(upper)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("number of snapshot %s: %w", upper, err)
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
	return 0, fmt.Errorf("no project number is free for %s", upper)
}
