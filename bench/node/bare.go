package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/testdata/apps"
)

// bundle is the program of helloImage as an OCI bundle, with the spec that runc itself writes. It runs in the host's
// network: it has no address of its own to wait for, no image to unpack and nobody to watch it, and so is what no
// platform on runc can undercut.
type bundle struct {
	dir, addr string
}

func newBundle(ctx context.Context, dir string) (*bundle, error) {
	root := filepath.Join(dir, "rootfs")
	source := filepath.Join(dir, "source")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if err := apps.CopyTo(ctx, source, "hello-go"); err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(source, "hello"), filepath.Join(root, "hello")); err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer free.Close()
	_, port, err := net.SplitHostPort(free.Addr().String())
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "runc", "spec", "--bundle", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("runc spec: %w: %s", err, out)
	}
	return &bundle{dir, free.Addr().String()}, adapt(filepath.Join(dir, "config.json"), port)
}

// adapt makes runc's example of a spec one of the program.
func adapt(path, port string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	spec.Process.Terminal = false
	spec.Process.Args = []string{"/hello"}
	spec.Process.Env = []string{"PATH=/", "PORT=" + port}
	spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
	if text, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// run starts the bundle and returns how long that took, until the program answered.
func (b *bundle) run(ctx context.Context, id string) (took time.Duration, err error) {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "runc", "run", "--bundle", b.dir, id)
	cmd.Stdout, cmd.Stderr = &output, &output
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = untilOK(ctx, b.addr, "hello")
	took = time.Since(begin)
	if out, kerr := exec.Command("runc", "kill", id, "KILL").CombinedOutput(); kerr != nil {
		err = errors.Join(err, fmt.Errorf("runc kill: %w: %s", kerr, out))
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait() // it ends with the program's signal
	if err != nil {
		return 0, fmt.Errorf("runc run: %w: %s", err, &output)
	}
	return took, nil
}
