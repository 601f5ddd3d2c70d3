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
	Root string // "/", or a folder that stands in for it
	OS   string // as runtime.GOOS has it
	// Run runs a program and returns what it printed.
	Run func(ctx context.Context, program string, args ...string) (string, error)
}

// This is the machine that the process runs on.
func This() *Host { return &Host{Root: "/", OS: runtime.GOOS, Run: run} }

// commandTime is how long a program may take. All of them are quick, or hang for good.
const commandTime = 15 * time.Second

func run(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// path is where a path of the machine is.
func (h *Host) path(name string) string { return filepath.Join(h.Root, name) }

func (h *Host) exists(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}

// read returns a file's text; "" where there is none.
func (h *Host) read(name string) (string, error) {
	b, err := os.ReadFile(h.path(h.follow(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// follow returns the file that a symbolic link leads to, as the machine sees it.
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

// systemd reports whether systemd runs the machine.
func (h *Host) systemd() bool { return h.exists("/run/systemd/system") }

// lines returns the lines of a text that are no comments, without what surrounds them.
func lines(text string) (kept []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.ContainsRune("#;", rune(line[0])) {
			kept = append(kept, line)
		}
	}
	return kept
}
