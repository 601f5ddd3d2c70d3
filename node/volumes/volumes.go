package volumes

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Volumes manages the volumes of all apps on a node.
type Volumes struct {
	Dir string // a volume's folder is GROUP/APP/NAME below it
}

// Folder returns the folder of an app's volume, and creates it if it is missing. Files on disk have the user IDs
// that they have inside the container: the container's mount maps them to its group's range. So the folders above
// are accessible to root only. A new volume is writable for every user inside, because the image may run as any.
func (v Volumes) Folder(app cloud.AppRef, volume cloud.Volume) (string, error) {
	dir := filepath.Join(v.appFolder(app), volume.Name)
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

func (v Volumes) appFolder(app cloud.AppRef) string {
	return filepath.Join(v.Dir, string(app.Group), string(app.App))
}

// droppedPrefix marks a folder whose volumes are to be deleted when the app's last instance has ended. The name has
// a random text, a dash and the app after it.
const droppedPrefix = ".dropped-"

// Drop marks an app's volumes for deletion by Clear. From now on the app gets new volumes.
func (v Volumes) Drop(app cloud.AppRef) error {
	of := v.appFolder(app)
	err := os.Rename(of, filepath.Join(filepath.Dir(of), droppedPrefix+rand.Text()+"-"+string(app.App)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the volumes of app %s: %w", app, err)
	}
	return nil
}

// Clear deletes dropped volumes that are no longer used. inUse reports whether an app has instances, also stopping
// ones. later is true if some volumes are still in use.
func (v Volumes) Clear(inUse func(cloud.AppRef) bool) (later bool, err error) {
	folders, err := filepath.Glob(filepath.Join(v.Dir, "*", droppedPrefix+"*"))
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
