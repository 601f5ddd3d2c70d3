package helpers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/engine/shim"
)

// Paths are where the programs are found. They stay valid over an upgrade: containers that run keep
// them, and have to be ended by them. Init is "" where there is none.
type Paths struct{ Runc, Shim, Init string }

// Install puts links to the programs into links, a folder that lasts while containers run, and the
// programs that the binary carries into a folder of their own below data.
func Install(ctx context.Context, data, links string) (Paths, error) {
	programs, err := provide(data)
	if err != nil {
		return Paths{}, err
	}
	if err := checkRunc(ctx, programs.Runc); err != nil {
		return Paths{}, err
	}
	if err := os.MkdirAll(links, 0o711); err != nil {
		return Paths{}, fmt.Errorf("helper programs: %w", err)
	}
	p := Paths{Runc: filepath.Join(links, "runc"), Shim: filepath.Join(links, shim.Name)}
	err = errors.Join(link(programs.Runc, p.Runc), link(programs.Shim, p.Shim))
	if programs.Init != "" {
		p.Init = filepath.Join(links, initName)
		err = errors.Join(err, link(programs.Init, p.Init))
	}
	return p, err
}

// initName is what the containers' init is called on disk.
const initName = "micro-init"

// link makes or changes a symbolic link, without a moment in which there is none.
func link(target, name string) error {
	next := name + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("helper programs: %w", err)
	}
	if err := os.Symlink(target, next); err != nil {
		return fmt.Errorf("helper programs: %w", err)
	}
	if err := os.Rename(next, name); err != nil {
		return fmt.Errorf("helper programs: %w", err)
	}
	return nil
}

// onPath finds runc where the binary carries none.
func onPath() (string, error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return "", cloud.Errorf(cloud.Unavailable, "find runc, which starts the containers: %w", err).
			WithHint("make helpers, or apt install runc, or use a release of micro, which carries it")
	}
	return filepath.Abs(runc)
}

var versionLine = regexp.MustCompile(`(?m)^runc version (\d+)\.(\d+)`)

// checkRunc refuses a runc older than 1.2, the first that maps the IDs of mounts and joins user
// namespaces the way we have it do.
func checkRunc(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "%s --version: %w", path, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return cloud.Errorf(cloud.Unavailable, "%s --version says %q, which is not runc", path, out)
	}
	major, _ := strconv.Atoi(string(m[1])) // digits, as the expression has it
	minor, _ := strconv.Atoi(string(m[2]))
	if major < 1 || major == 1 && minor < 2 {
		return cloud.Errorf(cloud.Unavailable, "%s is version %d.%d, and micro needs 1.2 or later", path, major, minor).
			WithHint("make helpers, and put the folder it names first in PATH")
	}
	return nil
}
