package deploy

import (
	"cmp"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// setTimes gives what an upload has the times that were listed. What was known already may have another, and an
// image keeps them: the same folder is to make the same image on every node. A folder gets the time of the newest
// file in it.
func setTimes(upload string, files []api.File) error {
	times := map[string]time.Time{}
	for _, f := range files {
		if f.Dir || f.ModTime.IsZero() {
			continue
		}
		times[path.Clean(f.Path)] = f.ModTime
		for dir := path.Dir(path.Clean(f.Path)); f.ModTime.After(times[dir]); dir = path.Dir(dir) {
			times[dir] = f.ModTime
			if dir == "." || dir == "/" {
				break
			}
		}
	}
	root, err := os.OpenRoot(upload)
	if err != nil {
		return err
	}
	defer root.Close()
	// By their folders: each is opened once.
	paths := make([]string, 0, len(times))
	for p := range times {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(strings.Compare(path.Dir(a), path.Dir(b)), strings.Compare(a, b))
	})
	var dir string
	var folder *os.File
	defer func() { folder.Close() }()
	for _, p := range paths {
		if folder == nil || dir != path.Dir(p) {
			folder.Close()
			dir = path.Dir(p)
			if folder, err = root.Open(dir); err != nil {
				return cloud.Errorf(cloud.Invalid, "file %q: %w", p, err)
			}
		}
		t := unix.NsecToTimespec(times[p].UnixNano())
		if err := unix.UtimesNanoAt(int(folder.Fd()), path.Base(p), []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return cloud.Errorf(cloud.Invalid, "the time of file %q: %w", p, err)
		}
	}
	return nil
}

// created is what an image says of when it was made: what the request says, else the time of the newest file.
func created(s *api.Source) time.Time {
	t := s.Created
	if !t.IsZero() {
		return t
	}
	for _, f := range s.Files {
		if f.ModTime.After(t) {
			t = f.ModTime
		}
	}
	return t
}
