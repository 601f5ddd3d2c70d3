package hostdns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// Step is one change of the machine.
type Step interface {
	// String describes the step for users.
	String() string
	// do carries the step out. undo reverts it; nil if that is impossible or not needed.
	do(ctx context.Context, h *Host) (undo func(), err error)
}

// Apply carries out the steps in order. If one fails, it undoes the steps before.
func (h *Host) Apply(ctx context.Context, steps []Step) error {
	var undos []func()
	for _, s := range steps {
		undo, err := s.do(ctx, h)
		if err != nil {
			for i := len(undos) - 1; i >= 0; i-- {
				undos[i]()
			}
			return stepError(s, err)
		}
		if undo != nil {
			undos = append(undos, undo)
		}
	}
	return nil
}

func stepError(s Step, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return cloud.Errorf(cloud.Denied, "cannot %s: %w", s, err).WithHint("run it as root: sudo micro dns …")
	}
	return cloud.Errorf(cloud.Unavailable, "cannot %s: %w", s, err)
}

// write creates or replaces a file of ours.
type write struct{ path, text string }

func (w write) String() string { return "write " + w.path }

func (w write) do(_ context.Context, h *Host) (func(), error) {
	path := h.path(w.path)
	was, readErr := os.ReadFile(path)
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return nil, readErr
	}
	mkdirErr := os.Mkdir(filepath.Dir(path), 0o755)
	if mkdirErr != nil && !errors.Is(mkdirErr, fs.ErrExist) {
		return nil, mkdirErr
	}
	text := w.text
	if mkdirErr == nil || ownsFolder(string(was)) {
		note, rest, _ := strings.Cut(text, "\n")
		text = note + "\n" + folderNote + "\n" + rest
	}
	undo := func() {
		if readErr == nil {
			_ = replace(path, was, 0o644)
		} else {
			_ = removeFile(path, text)
		}
	}
	if err := replace(path, []byte(text), 0o644); err != nil {
		if mkdirErr == nil {
			_ = os.Remove(filepath.Dir(path))
		}
		return nil, err
	}
	return undo, nil
}

// ownsFolder reports whether we made the file's folder.
func ownsFolder(text string) bool { return strings.Contains(text, "\n"+folderNote+"\n") }

// remove removes a file of ours, and its folder if we made it and it is empty.
type remove struct{ path string }

func (r remove) String() string { return "remove " + r.path }

func (r remove) do(_ context.Context, h *Host) (func(), error) {
	path := h.path(r.path)
	was, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	undo := func() {
		_ = os.Mkdir(filepath.Dir(path), 0o755) // it may exist
		_ = replace(path, was, 0o644)
	}
	return undo, removeFile(path, string(was))
}

func removeFile(path, text string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	if ownsFolder(text) {
		_ = os.Remove(filepath.Dir(path)) // fails if the folder has other files
	}
	return nil
}

// edit changes a file of others, or removes it if it did not exist before us.
type edit struct {
	path, text string
	remove     bool
}

func (e edit) String() string { return "change " + e.path }

func (e edit) do(_ context.Context, h *Host) (func(), error) {
	path := h.path(e.path)
	was, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	put := func(text []byte, remove bool) error {
		if remove {
			return os.Remove(path)
		}
		return replace(path, text, 0o644)
	}
	existed := err == nil
	return func() { _ = put(was, !existed) }, put([]byte(e.text), e.remove)
}

// replace replaces a file's content and keeps its mode and owner. A rename makes that atomic. A mounted file
// can't be renamed over, such as /etc/resolv.conf in a container: it is overwritten.
func replace(path string, text []byte, mode fs.FileMode) error {
	uid, gid := -1, -1
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		uid, gid = ownerOf(info)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".micro-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil && uid >= 0 {
		err = os.Chown(tmp.Name(), uid, gid)
	}
	if err != nil {
		return err
	}
	err = os.Rename(tmp.Name(), path)
	if errors.Is(err, syscall.EBUSY) {
		return os.WriteFile(path, text, mode)
	}
	return err
}

// command runs a program.
type command struct {
	args    []string
	mayFail bool
	undo    []string // nil for none
}

func (c command) String() string { return "run " + strings.Join(c.args, " ") }

func (c command) do(ctx context.Context, h *Host) (func(), error) {
	out, err := h.Run(ctx, c.args[0], c.args[1:]...)
	if err != nil && !c.mayFail {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
	}
	if c.undo == nil {
		return nil, nil
	}
	return func() { _, _ = h.Run(context.WithoutCancel(ctx), c.undo[0], c.undo[1:]...) }, nil
}
