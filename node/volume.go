package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// volume is the folder of an app's volume; it is made where it is missing. On the disk its files have
// the numbers of users that they have inside: a container's mount of it maps them to its group's range.
// So what is above it is root's alone, and what is in a new one is open to every user inside, whichever
// the image runs as.
func (n *Node) volume(app cloud.AppRef, v cloud.Volume) (string, error) {
	dir := filepath.Join(n.volumesOf(app), v.Name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := makeVolume(dir); err != nil {
		return "", fmt.Errorf("volume %s of app %s: %w", v.Name, app, err)
	}
	return dir, nil
}

// makeVolume lets the folder appear as it is to be, or not at all.
func makeVolume(dir string) error {
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

func (n *Node) volumesOf(app cloud.AppRef) string {
	return n.data.path("volumes", string(app.Group), string(app.App))
}

// dropped is what the name of a folder begins with whose volumes are to go. Behind it and a dash comes
// the app: they stay until its last instance has ended.
const dropped = ".dropped-"

// DropVolumes implements the API's handler.Node. The app's next volumes are new ones from now on.
func (n *Node) DropVolumes(app cloud.AppRef) error {
	of := n.volumesOf(app)
	err := os.Rename(of, filepath.Join(filepath.Dir(of), dropped+rand.Text()+"-"+string(app.App)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the volumes of app %s: %w", app, err)
	}
	return nil
}

// clearVolumes removes what was dropped and nobody uses any more. later is true where some is left.
func (n *Node) clearVolumes(v cloud.View) (later bool, err error) {
	folders, err := filepath.Glob(n.data.path("volumes", "*", dropped+"*"))
	for _, folder := range folders {
		_, name, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), dropped), "-")
		if used(v, cloud.AppRef{Group: cloud.GroupName(filepath.Base(filepath.Dir(folder))), App: cloud.AppName(name)}) {
			later = true
			continue
		}
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return later, err
}

// used says whether instances of an app are there, be they on their way to their end.
func used(v cloud.View, app cloud.AppRef) bool {
	for range v.Instances.OfApp(app) {
		return true
	}
	return false
}
