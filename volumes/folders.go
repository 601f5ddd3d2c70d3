package volumes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/volumes/archive"
)

// Folders manages the volumes of all apps on a node.
type Folders struct {
	Dir string // a volume's folder is GROUP/APP/NAME below it
}

// Folder returns the folder of an app's volume, and creates it if it is missing. Files on disk have the user IDs
// that they have inside the container: the container's mount maps them to its group's range. So the folders above
// are accessible to root only. A new volume is writable for every user inside, because the image may run as any.
func (f Folders) Folder(app cloud.AppRef, volume cloud.Volume) (string, error) {
	dir := filepath.Join(f.appFolder(app), volume.Name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := makeFolder(dir); err != nil {
		return "", fmt.Errorf("volume %s of app %s: %w", volume.Name, app, err)
	}
	return dir, nil
}

// makeFolder creates a folder with its mode atomically.
func makeFolder(dir string) error {
	above := filepath.Dir(dir)
	if err := os.MkdirAll(above, 0o700); err != nil {
		return err
	}
	made, err := os.MkdirTemp(above, ".new-")
	if err != nil {
		return err
	}
	err = errors.Join(os.Chmod(made, 0o777), os.Rename(made, dir))
	if errors.Is(err, os.ErrExist) { // another instance has just created it
		err = os.Remove(made)
	}
	return err
}

func (f Folders) appFolder(app cloud.AppRef) string {
	return filepath.Join(f.Dir, string(app.Group), string(app.App))
}

// Write writes an archive of a volume.
func (f Folders) Write(ctx context.Context, w io.Writer, app cloud.AppRef, volume string) error {
	dir := filepath.Join(f.appFolder(app), volume)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return cloud.Errorf(cloud.NotFound, "this node has no volume %s of %s", volume, app)
	}
	if err := archive.Write(ctx, w, dir); err != nil {
		return fmt.Errorf("volume %s of %s: %w", volume, app, err)
	}
	return nil
}

// Used returns how many bytes an app's volumes take on the disk, by name. A file with several names counts once.
func (f Folders) Used(ctx context.Context, app cloud.AppRef, names []string) (map[string]int64, error) {
	used := map[string]int64{}
	for _, name := range names {
		seen := map[uint64]bool{}
		err := filepath.WalkDir(filepath.Join(f.appFolder(app), name), func(_ string, e fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return ignoreMissing(err) // apps delete files
			}
			info, err := e.Info()
			if err != nil {
				return ignoreMissing(err)
			}
			const block = 512 // of st_blocks, on every file system: stat(2)
			if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
				seen[st.Ino] = true
				used[name] += st.Blocks * block
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return used, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// workPrefix begins the name of a folder that has the volumes of an app as a work's result, and afterwards the old ones. The
// work's ID follows.
const workPrefix = ".work-"

func (f Folders) workFolder(w *cloud.VolumeWork) string {
	return filepath.Join(f.Dir, string(w.Group), workPrefix+w.ID)
}

// Receive makes a volume of an archive, beside those that the app has. It returns when all of it is on the disk.
func (f Folders) Receive(ctx context.Context, r io.Reader, w *cloud.VolumeWork, volume string) error {
	dir := filepath.Join(f.workFolder(w), volume)
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = archive.Read(ctx, r, dir)
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return cloud.Errorf(cloud.Unavailable, "the disk has no room for volume %s of %s beside the old one: %w", volume, w.AppRef, err)
	case errors.Is(err, archive.ErrTruncated):
		return cloud.Errorf(cloud.Unavailable, "volume %s of %s did not arrive as a whole: %w", volume, w.AppRef, err)
	}
	return err
}

// Exchange lets what a work has received and what the app has change places: the volume that is restored, or all of them. It
// happens in one step, which is durable when Exchange returns. The app must not run.
func (f Folders) Exchange(w *cloud.VolumeWork) error {
	received, has := f.workFolder(w), f.appFolder(w.AppRef)
	if w.Volume != "" {
		received, has = filepath.Join(received, w.Volume), filepath.Join(has, w.Volume)
		if err := os.MkdirAll(filepath.Dir(has), 0o700); err != nil {
			return err
		}
	}
	err := unix.Renameat2(unix.AT_FDCWD, received, unix.AT_FDCWD, has, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		err = unix.Renameat2(unix.AT_FDCWD, received, unix.AT_FDCWD, has, unix.RENAME_NOREPLACE) // it has none
	}
	if err != nil {
		return fmt.Errorf("put the volumes of %s in their place: %w", w.AppRef, err)
	}
	return errors.Join(syncFolder(filepath.Dir(received)), syncFolder(filepath.Dir(has)))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Retire deletes the volumes of an app, which has them on another node now. What a kill leaves, ClearWorks deletes.
func (f Folders) Retire(app cloud.AppRef) error {
	retired := filepath.Join(f.Dir, string(app.Group), workPrefix+strings.ToLower(rand.Text()))
	if err := os.Rename(f.appFolder(app), retired); err != nil {
		return ignoreMissing(err)
	}
	return os.RemoveAll(retired)
}

// ClearWorks deletes what works have left, except those that are under way.
func (f Folders) ClearWorks(underWay func(id string) bool) error {
	folders, err := filepath.Glob(filepath.Join(f.Dir, "*", workPrefix+"*"))
	for _, folder := range folders {
		if !underWay(strings.TrimPrefix(filepath.Base(folder), workPrefix)) {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}
	return err
}

// droppedPrefix marks a folder whose volumes are to be deleted when the app's last instance has ended. The name has
// a random text, a dash and the app after it.
const droppedPrefix = ".dropped-"

// Drop marks an app's volumes for deletion by Clear. From now on the app gets new volumes.
func (f Folders) Drop(app cloud.AppRef) error {
	of := f.appFolder(app)
	err := os.Rename(of, filepath.Join(filepath.Dir(of), droppedPrefix+rand.Text()+"-"+string(app.App)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the volumes of app %s: %w", app, err)
	}
	return nil
}

// Clear deletes dropped volumes that are no longer used. inUse reports whether an app has instances, also stopping
// ones. later is true if some volumes are still in use.
func (f Folders) Clear(inUse func(cloud.AppRef) bool) (later bool, err error) {
	folders, err := filepath.Glob(filepath.Join(f.Dir, "*", droppedPrefix+"*"))
	for _, folder := range folders {
		_, name, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), droppedPrefix), "-")
		if inUse(cloud.AppRef{Group: cloud.GroupName(filepath.Base(filepath.Dir(folder))), App: cloud.AppName(name)}) {
			later = true
			continue
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return later, err
}
