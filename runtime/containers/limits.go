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

// limiting are the controllers that no container goes without. Memory is the first: version 2 hands the
// others down where it must not be handed down itself, and what is handed down then spoils what is below.
var limiting = []string{"memory", "pids", "cpu"}

// Limits says by what containers are limited, or why they can't be.
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

// prepare makes the cgroup, which those of containers will be below, and finds out whether they can have
// limits: a node that can't run anything is not to look as if it could.
func (g cgroup) prepare() error {
	for _, c := range limiting {
		h, ok := g.at[c]
		if !ok {
			return unlimited(c, "", nil)
		}
		if !h.v2 {
			continue // each folder of version 1 has its controller's files
		}
		dir := h.mount
		for _, name := range append([]string{""}, strings.Split(strings.Trim(g.path, "/"), "/")...) {
			dir = filepath.Join(dir, name)
			if err := handDown(dir, c); err != nil {
				return unlimited(c, dir, err)
			}
		}
	}
	return nil
}

// handDown gives a controller to the cgroups below one of version 2, which is made where it is not there.
func handDown(dir, controller string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0)
}

// unlimited says why a controller can't be had, in words for whoever runs the machine.
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
