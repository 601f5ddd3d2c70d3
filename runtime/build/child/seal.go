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

// sourceDate is the variable with the time that programs write into their output, in seconds since 1970
// (reproducible-builds.org/specs/source-date-epoch). With it, Python's compiled files stay valid as long as the content of
// their source is the same.
const sourceDate = "SOURCE_DATE_EPOCH"

// tick is longer than the time by which the kernel's file times may be behind the clock.
const tick = 20 * time.Millisecond

// firstTime is the time of files if there is no older file. ZIP archives can't store an earlier time.
var firstTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// seal completes a layer that a step has written since a time. It does two things. Files with an owner that containers
// don't have get another owner: an archive that ADD unpacks may have the large IDs of a directory service. And files and
// folders that the step has changed get the time of the newest file below, so that the same step makes the same layer at
// any time and on any node.
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
			// COPY gives a folder the time of its source, which may be BuildKit's own copy of the context.
			stamped = append(stamped, path)
		case info.ModTime().Nanosecond() != 0:
			// Archives of layers have whole seconds. And BuildKit takes files with equal size and time for the same file; it
			// compares their content only if the times are whole seconds.
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

// ownByContainer changes the owner of a file to nobody if containers don't have its owner's ID.
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
	// Changing the owner clears these bits.
	if special := info.Mode() & (fs.ModeSetuid | fs.ModeSetgid); special != 0 && info.Mode().Type() != fs.ModeSymlink {
		err = errors.Join(err, os.Chmod(path, info.Mode()))
	}
	return err
}

// newest returns the time of the newest file in layers, given from top to bottom; firstTime if there is no file. Times in
// the future count like others, because they are the same on every node.
func newest(layers []string) (time.Time, error) {
	result := firstTime
	for i, l := range layers {
		known, ok, err := recall(l)
		if err != nil {
			return result, err
		}
		if ok { // the stored time covers this layer and all below
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

// timeFile is a file next to a layer's folder, invisible to steps and containers. It has the time of the newest file in the
// layer and all layers below, in seconds since 1970.
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
		return t, false, nil // incomplete after a crash of the machine: scan the layer again
	}
	return time.Unix(seconds, 0).UTC(), true, nil
}
