// Package apps hands the sample apps of its folder to tests, each as a copy that the test may change.
//
// It owns nothing: a copy is in a folder of the test's choice, and a program of an app whose Dockerfile
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

	"github.com/protoduction/micro/testdata/debimage"
)

//go:embed all:hello-go all:shop all:chat all:worker all:nginxish all:crash all:deaf all:elsewhere all:ledger all:tenant
var sources embed.FS

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
