package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/testdata/apps"
	"github.com/protoduction/micro/testdata/debimage"
)

// serviceFigures measures how soon a database is ready, beside the same server without a platform, and how long a change of
// databases takes, beside a change of the environment: both make a release and roll it out.
func serviceFigures(ctx context.Context, program string, rounds int) (figures []figure, err error) {
	n, _, err := startNode(ctx, program)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	var archive string
	for _, name := range []string{"postgres", "python-db"} {
		recipe, _ := debimage.Preset(name)
		path, err := debimage.Build(ctx, recipe, false)
		if err != nil {
			return nil, err
		}
		if _, err := n.micro(ctx, "image", "load", path); err != nil {
			return nil, err
		}
		if name == "postgres" {
			archive = path
		}
	}
	if _, err := n.micro(ctx, "service", "image", "postgres", "15", "micro.local/postgres:latest"); err != nil {
		return nil, err
	}
	root := filepath.Join(n.dir, "postgres")
	if err := unpackImage(ctx, archive, root); err != nil {
		return nil, err
	}
	var ready, bare []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("db%d", i)
		took, err := timeOf(func() error {
			_, err := n.micro(ctx, "service", "create", "postgres", name, "--plan", "256M")
			return err
		})
		if err != nil {
			return nil, err
		}
		ready = append(ready, took)
		if i > 1 { // two are used further on
			if _, err := n.micro(ctx, "service", "delete", name); err != nil {
				return nil, err
			}
		}
		if took, err = barePostgres(ctx, root); err != nil {
			return nil, err
		}
		bare = append(bare, took)
	}
	rebinds, rolls, err := n.rebinds(ctx, rounds)
	if err != nil {
		return nil, err
	}
	return []figure{
		ratioFigure("service create postgres, to ready: ratio to the bare server's first log-in", ready, bare).atMost(2.5),
		ratioFigure("rebind to another database: ratio to a plain roll", rebinds, rolls).atMost(1.2),
	}, nil
}

// rebinds measures changes of databases, and in turns with them changes of the environment.
func (n *node) rebinds(ctx context.Context, rounds int) (rebinds, rolls []time.Duration, err error) {
	folder := filepath.Join(n.dir, "ledger")
	if err := apps.CopyTo(ctx, folder, "ledger"); err != nil {
		return nil, nil, err
	}
	for _, args := range [][]string{{"apps", "create", "ledger"}, {"bind", "ledger", "db0"}, {"push", folder}} {
		if _, err := n.micro(ctx, args...); err != nil {
			return nil, nil, err
		}
	}
	for i := range rounds {
		took, err := timeOf(func() error {
			_, err := n.micro(ctx, "env", "ledger", fmt.Sprintf("ROUND=%d", i))
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		rolls = append(rolls, took)
		took, err = timeOf(func() error {
			_, err := n.micro(ctx, "rebind", "ledger", "--from", fmt.Sprintf("db%d", i%2), "--to", fmt.Sprintf("db%d", (i+1)%2))
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		rebinds = append(rebinds, took)
	}
	return rebinds, rolls, nil
}

// unpackImage writes the files of an image's archive to a folder.
func unpackImage(ctx context.Context, archive, root string) error {
	layout := root + ".layout"
	for _, dir := range []string{layout, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	untar := func(file, dir string) error {
		if out, err := exec.CommandContext(ctx, "tar", "-xpf", file, "-C", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("tar %s: %w: %s", file, err, out)
		}
		return nil
	}
	if err := untar(archive, layout); err != nil {
		return err
	}
	type descriptors struct {
		Manifests, Layers []struct{ Digest string }
	}
	read := func(path string) (d descriptors, err error) {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &d)
		}
		return d, err
	}
	blob := func(digest string) string {
		return filepath.Join(layout, "blobs", strings.Replace(digest, ":", "/", 1))
	}
	index, err := read(filepath.Join(layout, "index.json"))
	if err != nil {
		return err
	}
	manifest, err := read(blob(index.Manifests[0].Digest))
	if err != nil {
		return err
	}
	for _, l := range manifest.Layers {
		if err := untar(blob(l.Digest), root); err != nil {
			return err
		}
	}
	return os.RemoveAll(layout)
}

// barePostgres starts the server of an unpacked image without a container, with an empty folder for its data, and returns how
// long that took, until it accepted a log-in by TCP as the kind's accounts log in.
func barePostgres(ctx context.Context, root string) (took time.Duration, err error) {
	const port = "54329"
	if err := errors.Join(os.RemoveAll(root+"/data"), os.RemoveAll(root+"/run/postgresql")); err != nil {
		return 0, err
	}
	for _, dir := range []string{"/data", "/run/postgresql"} {
		if err := errors.Join(os.MkdirAll(root+dir, 0o700), os.Chown(root+dir, 999, 999)); err != nil {
			return 0, err
		}
	}
	if _, err := os.Stat(root + "/dev/null"); err != nil {
		if err := errors.Join(os.MkdirAll(root+"/dev", 0o755), syscall.Mknod(root+"/dev/null", syscall.S_IFCHR|0o666, 1<<8|3), os.Chmod(root+"/dev/null", 0o666),
			syscall.Mknod(root+"/dev/urandom", syscall.S_IFCHR|0o666, 1<<8|9), os.MkdirAll(root+"/dev/shm", 0o777), os.Chmod(root+"/dev/shm", 0o777)); err != nil {
			return 0, err
		}
	}
	if err := os.MkdirAll(root+"/proc", 0o755); err != nil {
		return 0, err
	}
	if err := syscall.Mount("proc", root+"/proc", "proc", 0, ""); err != nil {
		return 0, fmt.Errorf("mount /proc: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Unmount(root+"/proc", syscall.MNT_DETACH)) }()
	environment := []string{
		"PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PGDATA=/data/db", "POSTGRES_USER=postgres", "POSTGRES_DB=app", "POSTGRES_PASSWORD=secret",
		"PGPORT=" + port, "PGPASSWORD=secret", "LANG=C.UTF-8", "HOME=/tmp",
	}
	var output bytes.Buffer
	server := exec.CommandContext(ctx, "chroot", root, "/usr/local/bin/docker-entrypoint.sh", "postgres")
	server.Env, server.Stdout, server.Stderr = environment, &output, &output
	begin := time.Now()
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once
		_ = server.Wait()
	}()
	for time.Since(begin) < startLimit {
		login := exec.CommandContext(ctx, "chroot", root, "psql", "-h", "127.0.0.1", "-U", "postgres", "-d", "app", "-Atqc", "select 1")
		login.Env = environment
		if login.Run() == nil {
			return time.Since(begin), nil
		}
		time.Sleep(25 * time.Millisecond) // each try takes CPU time from the server
	}
	return 0, fmt.Errorf("the bare server accepts no log-in: %s", &output)
}
