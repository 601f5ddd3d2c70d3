package containers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// limiting are the controllers that every container needs. Memory must be first: in version 2 there are cgroups for which
// the others can be enabled but memory can't, and enabling the others there would break the cgroups below.
var limiting = []string{"memory", "pids", "cpu"}

// Limits describes the mechanism that limits containers, or returns an error if they can't be limited.
func (d *Driver) Limits() (string, error) {
	if err := d.cgroupOf("").prepare(); err != nil {
		return "", err
	}
	var by []string
	for _, c := range limiting {
		version := "v1"
		if d.hierarchies[c].v2 {
			version = "v2"
		}
		by = append(by, c+" by cgroup "+version)
	}
	return strings.Join(by, ", "), nil
}

// controllers are those that the kernel has; the mount options of version 1 have other words too.
var controllers = []string{
	"blkio", "cpu", "cpuacct", "cpuset", "devices", "dmem", "freezer", "hugetlb", "io", "memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma",
}

// Controllers returns the cgroup version of each controller, "v1" or "v2".
func (d *Driver) Controllers() map[string]string {
	versions := map[string]string{}
	for _, name := range controllers {
		if h, ok := d.hierarchies[name]; ok {
			versions[name] = map[bool]string{false: "v1", true: "v2"}[h.v2]
		}
	}
	return versions
}

// prepare makes the parent cgroup of all containers, and checks that they can have limits, so that a node which can't run
// containers does not start.
func (g cgroup) prepare() error {
	for _, c := range limiting {
		h, ok := g.at[c]
		if !ok {
			return unlimited(c, "", nil)
		}
		if !h.v2 {
			continue // in version 1 every cgroup has its controller's files
		}
		dir := h.mount
		for _, name := range append([]string{""}, strings.Split(strings.Trim(g.path, "/"), "/")...) {
			dir = filepath.Join(dir, name)
			if err := enableController(dir, c); err != nil {
				return unlimited(c, dir, err)
			}
		}
	}
	return nil
}

// enableController enables a controller for the cgroups below a cgroup of version 2, which is created if missing.
func enableController(dir, controller string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
}

// unlimited returns an error that explains to the administrator why a controller is not available.
func unlimited(controller, dir string, cause error) error {
	switch {
	case errors.Is(cause, unix.EBUSY), errors.Is(cause, unix.EOPNOTSUPP):
		return cloud.Errorf(cloud.Unavailable, "apps can't be limited: %s has processes of its own, so that the kernel hands no %s controller down from there: %w", dir, controller, cause).
			WithHint("in a container, let micro see the host's cgroups (docker run --cgroupns=host)")
	case cause == nil, errors.Is(cause, unix.EINVAL), errors.Is(cause, fs.ErrNotExist):
		where := "the kernel has none in use"
		if dir != "" {
			where = fmt.Sprintf("%s was given none", dir)
		}
		return cloud.Errorf(cloud.Unavailable, "apps can't be limited: no cgroup controller of %s: %s", controller, where).
			WithHint("boot without cgroup_disable=%s (a Raspberry Pi needs cgroup_enable=memory), or mount it", controller)
	}
	return cloud.Errorf(cloud.Unavailable, "apps can't be limited by %s: %w", controller, cause)
}
