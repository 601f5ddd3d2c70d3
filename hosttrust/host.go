package hosttrust

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Host is the machine that is to trust an authority, and the person whose browsers are.
type Host struct {
	Root string // "/", or a folder that stands in for it
	OS   string // as runtime.GOOS has it
	Home string // of the person
	Env  func(string) string
	// Run runs a program and returns what it printed, as the person where asPerson is true.
	Run func(ctx context.Context, asPerson bool, program string, args ...string) (string, error)
	// Find says whether there is a program.
	Find func(program string) bool
}

// This is the machine that the process runs on. Under sudo the person is the one who typed it.
func This() *Host {
	p := thisPerson(os.Getenv)
	return &Host{Root: "/", OS: runtime.GOOS, Home: p.home, Env: os.Getenv, Run: p.run, Find: find}
}

// commandTime is how long a program may take. update-ca-certificates runs other programs' hooks.
const commandTime = 2 * time.Minute

func (p person) run(ctx context.Context, asPerson bool, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	path, err := findProgram(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+searchPath())
	if asPerson {
		p.become(cmd)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// searchPath is where programs are looked for: those of an administrator are not in everybody's PATH.
func searchPath() string { return os.Getenv("PATH") + ":/usr/sbin:/sbin" }

func findProgram(program string) (string, error) {
	if strings.ContainsRune(program, '/') {
		return program, nil
	}
	for _, dir := range filepath.SplitList(searchPath()) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", &exec.Error{Name: program, Err: exec.ErrNotFound}
}

func find(program string) bool {
	_, err := findProgram(program)
	return err == nil
}

// path is where a path of the machine is.
func (h *Host) path(name string) string { return filepath.Join(h.Root, name) }

func (h *Host) exists(name string) bool {
	_, err := os.Stat(h.path(name))
	return err == nil
}

// glob returns the paths of the machine that match a pattern.
func (h *Host) glob(pattern string) (found []string) {
	all, _ := filepath.Glob(h.path(pattern)) // the pattern is ours
	for _, p := range all {
		rel, err := filepath.Rel(h.Root, p)
		if err == nil {
			found = append(found, "/"+rel)
		}
	}
	return found
}
