package datadir

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
)

// Dir is the data folder of a node.
type Dir struct {
	path string
	lock *os.File
}

// Open locks the folder, and creates it if it is missing. It refuses a folder that other users can write to.
func Open(dir string) (*Dir, error) {
	if os.Geteuid() != 0 {
		return nil, cloud.Errorf(cloud.Denied, "micro up must be run as root: it creates containers and networks").WithCommand("sudo micro up")
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot make the data folder: %w", err).WithHint("choose another with --data")
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	if err := config.CheckData(dir); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if ok && owner.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return nil, cloud.Errorf(cloud.Invalid, "other users than root can write to data folder %s (owner %d, mode %04o)", dir, owner.Uid, info.Mode().Perm()).
			WithHint("chown root %s && chmod 0711 %s", dir, dir)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "cannot use the data folder: %w", err).WithHint("choose another with --data")
	}
	d := &Dir{path: dir}
	return d, d.takeLock()
}

// String returns the folder's path without symbolic links, so that each folder has exactly one path.
func (d *Dir) String() string { return d.path }

// Path returns the path of an entry in the folder.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Close releases the lock.
func (d *Dir) Close() { d.lock.Close() }
