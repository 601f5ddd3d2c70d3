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

// Volumes are the volumes of all apps on a node.
type Volumes struct {
	Dir string // GROUP/APP/NAME below it
}

// Folder returns the folder of an app's volume, and makes it where it is missing. On the disk its files have
// the numbers of users that they have inside: a container's mount of it maps them to its group's range.
// So the folders above it are root's alone, and a new one is open to every user inside, whichever the image
// runs as.
func (v Volumes) Folder(app cloud.AppRef, volume cloud.Volume) (string, error) {
	dir := filepath.Join(v.of(app), volume.Name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := makeFolder(dir); err != nil {
		return "", fmt.Errorf("volume %s of app %s: %w", volume.Name, app, err)
	}
	return dir, nil
}

// makeFolder lets the folder appear as it is to be, or not at all.
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
	if errors.Is(err, os.ErrExist) { // another instance was faster
		err = os.Remove(made)
	}
	return err
}

func (v Volumes) of(app cloud.AppRef) string {
	return filepath.Join(v.Dir, string(app.Group), string(app.App))
}

// dropped is what the name of a folder begins with whose volumes are to go. Behind it and a dash comes
// the app: they stay until its last instance has ended.
const dropped = ".dropped-"

// Drop gives up an app's volumes: from now on its volumes are new ones. Clear removes the old ones.
func (v Volumes) Drop(app cloud.AppRef) error {
	of := v.of(app)
	err := os.Rename(of, filepath.Join(filepath.Dir(of), dropped+rand.Text()+"-"+string(app.App)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the volumes of app %s: %w", app, err)
	}
	return nil
}

// Clear removes dropped volumes that nobody uses any more. inUse says whether instances of an app are there, be
// they on their way to their end. later is true where some are left.
func (v Volumes) Clear(inUse func(cloud.AppRef) bool) (later bool, err error) {
	folders, err := filepath.Glob(filepath.Join(v.Dir, "*", dropped+"*"))
	for _, folder := range folders {
		_, name, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), dropped), "-")
		if inUse(cloud.AppRef{Group: cloud.GroupName(filepath.Base(filepath.Dir(folder))), App: cloud.AppName(name)}) {
			later = true
			continue
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return later, err
}
