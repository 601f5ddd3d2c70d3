package hostdns

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Host is the machine whose resolver is set up.
type Host struct {
	Root string // "/", or another folder in tests
	OS   string // a value of runtime.GOOS
	// Run runs a program and returns its output.
	Run func(ctx context.Context, program string, args ...string) (string, error)
}

// ThisMachine returns the machine that the process runs on.
func ThisMachine() *Host { return &Host{Root: "/", OS: runtime.GOOS, Run: run} }

// commandTimeout is how long a program may take. Each is quick, or hangs for ever.
const commandTimeout = 15 * time.Second

func run(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// path returns the real path of a path on the machine.
func (h *Host) path(name string) string { return filepath.Join(h.Root, name) }

func (h *Host) exists(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}

// read returns a file's text, or "" if there is no such file.
func (h *Host) read(name string) (string, error) {
	b, err := os.ReadFile(h.path(h.follow(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// follow resolves symbolic links and returns the path of the file on the machine.
func (h *Host) follow(name string) string {
	for range 16 {
		target, err := os.Readlink(h.path(name))
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(name), target)
		}
		name = target
	}
	return name
}

// systemd reports whether systemd is the machine's init.
func (h *Host) systemd() bool { return h.exists("/run/systemd/system") }

// lines returns the lines of a text without comments, empty lines and surrounding space.
func lines(text string) (kept []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.ContainsRune("#;", rune(line[0])) {
			kept = append(kept, line)
		}
	}
	return kept
}
