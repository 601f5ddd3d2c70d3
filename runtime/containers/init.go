package containers

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// initPath is the path of micro's init in a container. It is on a file system in memory, so that the image's own files
// don't change.
const initPath = "/dev/init"

// inits are programs that do the work of process 1 themselves. Some of them refuse to run as another process.
var inits = []string{
	"init", "systemd", "tini", "tini-static", "dumb-init", "catatonit", "docker-init", "s6-svscan", "runsvinit", "my_init",
}

// needsInit reports whether micro's init must start a container's program.
func (d *Driver) needsInit(c runtime.Container, args []string) bool {
	return !c.NoInit && d.shims.Init() != "" && !slices.Contains(inits, path.Base(args[0]))
}

// addInit makes micro's init process 1 of the container.
func (d *Driver) addInit(s *specs.Spec) {
	s.Process.Args = append([]string{initPath}, s.Process.Args...)
	s.Mounts = append(s.Mounts, specs.Mount{
		Destination: initPath, Type: "bind", Source: d.shims.Init(),
		Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev"},
	})
}

// hasInit reports whether micro's init is process 1 of a container with this process.
func hasInit(p *specs.Process) bool { return len(p.Args) > 1 && p.Args[0] == initPath }

// checkProgram checks the program that a container's init will start, so that Start can return an error if it is
// missing, as runc does without an init. At this time all mounts exist and nothing of the image has run. Faults that only
// the kernel finds are reported by the init in the container's log.
func checkProgram(p *specs.Process, env []string, pid uint32) error {
	if !hasInit(p) {
		return nil
	}
	root, err := os.Open(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return fmt.Errorf("open its files: %w", err)
	}
	defer root.Close()
	name := p.Args[1]
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(p.Cwd, name)
		}
		err = checkExecutable(root, name)
	} else {
		err = errNotFound
		for _, dir := range strings.Split(pathOf(env), ":") {
			if !path.IsAbs(dir) {
				dir = path.Join(p.Cwd, dir)
			}
			found := checkExecutable(root, path.Join(dir, name))
			if found == nil {
				return nil
			}
			if !errors.Is(found, errNotFound) {
				err = found
			}
		}
	}
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "its command can't be run: %q %w", p.Args[1], err).
			WithHint("check the command, and that the image is built for this machine")
	}
	return nil
}

var (
	errNotFound   = errors.New("is not in the image")
	errFolder     = errors.New("is a folder")
	errExecutable = errors.New("is not executable")
)

// checkExecutable returns an error if no user may execute a file. It returns nil if it can't find out.
func checkExecutable(root *os.File, name string) error {
	f, err := openIn(root, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return errNotFound
	}
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil
	case fi.IsDir():
		return errFolder
	case fi.Mode()&0o111 == 0:
		return errExecutable
	}
	return nil
}

// pathOf returns the PATH of an environment.
func pathOf(env []string) string {
	for _, kv := range env {
		if p, ok := strings.CutPrefix(kv, "PATH="); ok {
			return p
		}
	}
	return strings.TrimPrefix(defaultPath, "PATH=")
}
