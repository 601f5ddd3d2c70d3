package debimage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Build returns the path of an archive of the recipe's image: an OCI layout in a tar, which Docker and
// containerd load too. It is made once and then found in the cache; with refresh its packages are
// resolved anew, and it is made again if there are newer ones. Several processes may call Build at the
// same time. The archive is the cache's: read it, don't change it.
func Build(ctx context.Context, r Recipe, refresh bool) (string, error) {
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	r.Packages = slices.Concat(base, r.Packages)
	r.Leave = slices.Concat(leave, r.Leave)
	r.Drop = slices.Concat(drop, r.Drop)
	if !strings.Contains(filepath.Base(r.Name), ":") {
		r.Name += ":latest"
	}
	key, err := r.key()
	if err != nil {
		return "", err
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()

	a := apt{dir}
	list := filepath.Join(dir, key+".packages")
	var debs []string
	if text, err := os.ReadFile(list); err == nil && !refresh {
		debs = strings.Fields(string(text))
	} else if debs, err = a.resolve(ctx, r.Packages, r.Leave); err != nil {
		return "", fmt.Errorf("image %s: %w", r.Name, err)
	}
	image := filepath.Join(dir, key+"-"+sum([]byte(strings.Join(debs, "\n")))+".tar")
	if _, err := os.Stat(image); err != nil {
		if err := a.fetch(ctx, debs); err != nil {
			return "", fmt.Errorf("image %s: %w", r.Name, err)
		}
		if err := makeImage(ctx, image, a.archives(), debs, r); err != nil {
			return "", fmt.Errorf("image %s: %w", r.Name, err)
		}
	}
	return image, os.WriteFile(list, []byte(strings.Join(debs, "\n")+"\n"), 0o644)
}

// CacheDir returns the folder of the downloaded packages and finished images, made if need be.
func CacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "micro", "debimage")
	return dir, os.MkdirAll(dir, 0o755)
}

func makeImage(ctx context.Context, image, archives string, debs []string, r Recipe) error {
	t, err := unpack(archives, debs, r.Drop)
	if err != nil {
		return err
	}
	if err := t.addPrograms(ctx, filepath.Dir(image), r); err != nil {
		return err
	}
	if err := t.finish(r); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(image), "new-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	err = writeArchive(file, r, t)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), image)
}

// format is changed when the same recipe and packages are to make another image than before.
const format = "1"

// key names a recipe's files in the cache: its name and a hash of all that is in it.
func (r Recipe) key() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, format, runtime.GOARCH, codename(), string(text))
	for _, target := range slices.Sorted(maps.Keys(r.Files)) {
		body, err := files.ReadFile("files/" + r.Files[target])
		if err != nil {
			return "", err
		}
		hash.Write(body)
	}
	name := strings.NewReplacer("/", "-", ":", "-").Replace(r.Name)
	return name + "-" + hex.EncodeToString(hash.Sum(nil))[:12], nil
}

func sum(text []byte) string {
	hash := sha256.Sum256(text)
	return hex.EncodeToString(hash[:])[:12]
}

// lock waits until no other process builds in dir.
func lock(dir string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return func() { file.Close() }, nil
}

// Scratch writes an archive of an image that has nothing but the given files in it: path in the image →
// file on this host, with its mode. Of the recipe it takes what says how to run it.
func Scratch(archive string, r Recipe, content map[string]string) error {
	t := tree{}
	for name, source := range content {
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		t[name] = &entry{tar.Header{Typeflag: tar.TypeReg, Mode: int64(info.Mode().Perm()), ModTime: time.Unix(0, 0)}, body}
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			t[parent] = &entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}}
		}
	}
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	err = writeArchive(file, r, t)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}
