// Package apps hands the sample apps of its folder to tests, each as a copy that the test may change.
//
// It owns nothing: a copy is in a folder of the test's own, and a program of an app whose Dockerfile
// copies one is built into it.
package apps

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/protoduction/micro/testdata/debimage"
)

//go:embed all:hello-go all:shop all:chat all:worker all:nginxish all:crash all:deaf all:elsewhere
var sources embed.FS

// Copy returns a folder with the app's source, ready to be pushed.
func Copy(t testing.TB, app string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), app)
	if err := CopyTo(t.Context(), dir, app); err != nil {
		t.Fatal(err)
	}
	return dir
}

// CopyTo writes the app's source to dir, which it makes.
func CopyTo(ctx context.Context, dir, app string) error {
	source, err := fs.Sub(sources, app)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, source); err != nil {
		return fmt.Errorf("copy %s: %w", app, err)
	}
	if app == "hello-go" {
		return buildHello(ctx, filepath.Join(dir, "hello"))
	}
	return nil
}

// Base returns the archive of the image that the app's Dockerfile begins with, and "" for hello-go.
func Base(t testing.TB, app string) string {
	t.Helper()
	preset := map[string]string{
		"shop": "python", "worker": "python", "chat": "node", "nginxish": "nginx",
		"crash": "base", "deaf": "base", "elsewhere": "base",
	}[app]
	if preset == "" {
		return ""
	}
	recipe, _ := debimage.Preset(preset)
	image, err := debimage.Build(t.Context(), recipe, false)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// HelloName is the name of the image that HelloArchive makes.
const HelloName = "micro.local/hello:latest"

// HelloArchive writes an archive of hello-go's image, as its Dockerfile would make it: for those that
// want a container and no build.
func HelloArchive(ctx context.Context, archive string) error {
	dir, err := os.MkdirTemp("", "hello")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "hello")
	if err := buildHello(ctx, program); err != nil {
		return err
	}
	recipe := debimage.Recipe{Name: HelloName, Entrypoint: []string{"/hello"}, Port: 8080}
	return debimage.Scratch(archive, recipe, map[string]string{"hello": program})
}

// HelloImage returns the path of such an archive, which lasts as long as the test.
func HelloImage(t testing.TB) string {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "hello.tar")
	if err := HelloArchive(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	return archive
}

func buildHello(ctx context.Context, output string) error {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, "./hello-go")
	cmd.Dir = filepath.Dir(here)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build hello-go: %w\n%s", err, out)
	}
	return nil
}
