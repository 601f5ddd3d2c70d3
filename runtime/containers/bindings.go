package containers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/network"
)

// bindings is the folder with a container's binding files while the container is made. It is a tmpfs of its own, so that
// the files are on no disk. Once the container has it mounted, the host gives it up: from then on only the container sees
// the files, and they end with it.
func (d *Driver) bindings(id string) string { return filepath.Join(d.folder(id), "bindings") }

func (d *Driver) writeBindings(c runtime.Container) error {
	if len(c.BindingFiles) == 0 {
		return nil
	}
	dir := d.bindings(c.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("its binding files: %w", err)
	}
	base := int(network.Base(c.Tenant))
	options := fmt.Sprintf("mode=0755,size=4m,uid=%d,gid=%d", base, base)
	if err := unix.Mount("micro", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return fmt.Errorf("its binding files: mount a tmpfs on %s: %w", dir, err)
	}
	for name, text := range c.BindingFiles {
		file := filepath.Join(dir, filepath.Join("/", name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil {
			err = os.WriteFile(file, []byte(text), 0o444)
		}
		if err == nil {
			err = errors.Join(os.Chmod(filepath.Dir(file), 0o755), os.Chmod(file, 0o444), os.Lchown(filepath.Dir(file), base, base), os.Lchown(file, base, base))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("its binding files: %w", err), d.hideBindings(c.ID))
		}
	}
	return nil
}

// hideBindings takes the binding files out of the host's view. It is not an error if there are none.
func (d *Driver) hideBindings(id string) error {
	err := unix.Unmount(d.bindings(id), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("binding files of container %s: %w", id, err)
	}
	return nil
}
