package debimage

import (
	"archive/tar"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// addPrograms adds the recipe's Go programs to the tree. Each is built once, in the cache folder dir.
func (t tree) addPrograms(ctx context.Context, dir string, r Recipe) error {
	for _, name := range slices.Sorted(maps.Keys(r.Programs)) {
		program, err := install(ctx, filepath.Join(dir, "programs"), r.Programs[name])
		if err != nil {
			return err
		}
		body, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		t[name] = &entry{tar.Header{Typeflag: tar.TypeReg, Mode: 0o755, ModTime: t.newest()}, body}
	}
	return nil
}

// Program builds a Go program, unless it is in the cache, and returns its path.
func Program(ctx context.Context, program string) (string, error) {
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	return install(ctx, filepath.Join(dir, "programs"), program)
}

// install builds a program, unless it is in dir, and returns its path. The program needs no libc, and its bytes depend on
// its version and the Go release alone.
func install(ctx context.Context, dir, program string) (string, error) {
	dir = filepath.Join(dir, sum([]byte(program)))
	name, _, _ := strings.Cut(filepath.Base(program), "@")
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	made, err := os.MkdirTemp(filepath.Dir(filepath.Dir(dir)), "program-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", program)
	cmd.Env = append(os.Environ(), "GOBIN="+made, "GOFLAGS=", "CGO_ENABLED=0")
	cmd.Dir = made // of no module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w: %s", program, err, out)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return path, os.Rename(filepath.Join(made, name), path)
}
