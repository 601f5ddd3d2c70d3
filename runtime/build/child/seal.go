package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/layer"
)

// sourceDate is the variable by which programs are told the time to write into what they make, in seconds since
// 1970 (reproducible-builds.org/specs/source-date-epoch). Python makes compiled files then that hold for as long as
// their source has the same content, whatever its time is.
const sourceDate = "SOURCE_DATE_EPOCH"

// tick is more than the time by which the kernel's stamps on files may be behind the clock.
const tick = 20 * time.Millisecond

// firstTime is for files that nothing has given a time: ZIP archives, which a step may make, know no time before.
var firstTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// seal completes a layer that a step has made since a time. Its files get owners that a container has: ADD unpacks
// an archive with the IDs that it was packed with, and those of a directory service are larger than any in a
// container. And the time at which the step happened to run is taken from its files, which get that of the newest
// file that was there before, as do folders: so the same step makes the same layer at any time and on any node.
func seal(m mount.Mount, since time.Time) error {
	upper, lower := folders(m)
	before, err := newest(lower)
	if err != nil {
		return fmt.Errorf("read the times of a step's files: %w", err)
	}
	since = since.Add(-tick)
	var stamped []string
	err = walk(upper, func(path string, info fs.FileInfo) error {
		t := info.ModTime().Truncate(time.Second)
		switch {
		case !info.ModTime().Before(since), info.IsDir():
			// COPY gives a folder the time of the one that it copies, which may be BuildKit's own copy of the context.
			stamped = append(stamped, path)
		case info.ModTime().Nanosecond() != 0:
			// A layer's archive has whole seconds. And BuildKit takes a file of the same size and the very same time for
			// the same file; it looks at the content only where the seconds are whole.
			if err := setTime(path, t); err != nil {
				return err
			}
			fallthrough
		default:
			if info.Mode().IsRegular() {
				before = later(before, t)
			}
		}
		return ownByContainer(path, info)
	})
	for i := 0; err == nil && i < len(stamped); i++ {
		err = setTime(stamped[i], before)
	}
	if err != nil {
		return fmt.Errorf("complete a step's files: %w", err)
	}
	return remember(upper, before)
}

func setTime(path string, t time.Time) error {
	stamp := unix.NsecToTimespec(t.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

// ownByContainer gives a file to nobody if no ID of a container owns it.
func ownByContainer(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	uid, gid := layer.KnownID(int(st.Uid)), layer.KnownID(int(st.Gid))
	if uid == int(st.Uid) && gid == int(st.Gid) {
		return nil
	}
	err := os.Lchown(path, uid, gid)
	// A change of owner takes these bits away.
	if special := info.Mode() & (fs.ModeSetuid | fs.ModeSetgid); special != 0 && info.Mode().Type() != fs.ModeSymlink {
		err = errors.Join(err, os.Chmod(path, info.Mode()))
	}
	return err
}

// newest returns the time of the newest file in layers, the top one first, firstTime where there is no file. Files
// from the future count as all others: they are in the layer wherever it is.
func newest(layers []string) (time.Time, error) {
	result := firstTime
	for i, l := range layers {
		known, ok, err := recall(l)
		if err != nil {
			return result, err
		}
		if ok { // of this layer and of all below it
			result = later(result, known)
			layers = layers[:i]
			break
		}
		err = walk(l, func(_ string, info fs.FileInfo) error {
			if info.Mode().IsRegular() {
				result = later(result, info.ModTime())
			}
			return nil
		})
		if err != nil {
			return result, err
		}
	}
	result = result.Truncate(time.Second)
	if len(layers) > 0 {
		return result, remember(layers[0], result)
	}
	return result, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// walk visits all files of a layer.
func walk(dir string, visit func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return visit(path, info)
	})
}

// timeFile is beside a layer's folder, where no step and no container sees it: the time of the newest file in the
// layer and in those below it, in seconds since 1970.
func timeFile(dir string) (path string, ok bool) {
	return filepath.Join(filepath.Dir(dir), "newest"), filepath.Base(dir) == "fs"
}

func remember(dir string, t time.Time) error {
	path, ok := timeFile(dir)
	if !ok {
		return nil
	}
	return os.WriteFile(path, []byte(strconv.FormatInt(t.Unix(), 10)), 0o600)
}

func recall(dir string) (t time.Time, ok bool, err error) {
	path, ok := timeFile(dir)
	if !ok {
		return t, false, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, false, nil
	}
	if err != nil {
		return t, false, err
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return t, false, nil // half-written as the machine went down: read the layer again
	}
	return time.Unix(seconds, 0).UTC(), true, nil
}
