package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
