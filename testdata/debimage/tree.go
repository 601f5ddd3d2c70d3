package debimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// entry is a file, folder or link of the image.
type entry struct {
	tar.Header
	body []byte
}

// tree is a root file system: entries by their path, without slashes at either end.
type tree map[string]*entry

// moved are the folders that Debian merges or links into others: packages still ship files under the
// old names, which must end where the links lead.
var moved = []struct{ from, to string }{
	{"bin", "usr/bin"}, {"sbin", "usr/sbin"}, {"lib", "usr/lib"}, {"lib64", "usr/lib64"},
	{"var/run", "run"}, {"var/lock", "run/lock"},
}

// place returns where a package's path belongs in the tree.
func place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, m := range moved {
		if rest, ok := strings.CutPrefix(name, m.from); ok && (rest == "" || rest[0] == '/') {
			return m.to + rest
		}
	}
	return name
}

// unpack merges packages into one tree. Where two have the same path the first one's folder and the
// last one's file stay, as with dpkg; files that match a pattern in drop are left out.
func unpack(archives string, debs, drop []string) (tree, error) {
	trees := make([]tree, len(debs))
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i, deb := range debs {
		group.Go(func() (err error) {
			trees[i], err = unpackOne(filepath.Join(archives, deb), drop)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := tree{}
	for _, t := range trees {
		for name, e := range t {
			if old := all[name]; old == nil || old.Typeflag != tar.TypeDir {
				all[name] = e
			}
		}
	}
	return all, nil
}

func unpackOne(deb string, drop []string) (tree, error) {
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	t, readErr := readTree(out, drop)
	if readErr != nil {
		io.Copy(io.Discard, out)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
	}
	return t, readErr
}

func readTree(r io.Reader, drop []string) (tree, error) {
	t, archive := tree{}, tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		name := place(header.Name)
		if name == "" || dropped(name, drop) {
			continue
		}
		e := &entry{Header: tar.Header{
			Typeflag: header.Typeflag, Linkname: header.Linkname, Mode: header.Mode,
			Uid: header.Uid, Gid: header.Gid, ModTime: header.ModTime.Truncate(time.Second),
		}}
		switch header.Typeflag {
		case tar.TypeReg:
			if e.body, err = io.ReadAll(archive); err != nil {
				return nil, err
			}
		case tar.TypeLink:
			e.Linkname = place(header.Linkname)
		}
		t[name] = e
	}
}

// dropped tells whether name or a folder that it is in matches a pattern.
func dropped(name string, patterns []string) bool {
	for ; name != "."; name = path.Dir(name) {
		for _, p := range patterns {
			if ok, _ := path.Match(p, name); ok {
				return true
			}
		}
	}
	return false
}

// newest is the time of the newest entry: what is added by hand is as old as that, since an image's
// bytes must not depend on when it was made.
func (t tree) newest() time.Time {
	var newest time.Time
	for _, e := range t {
		if e.ModTime.After(newest) {
			newest = e.ModTime
		}
	}
	return newest
}

// write writes the tree as a layer, folders before what is in them.
func (t tree) write(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		e := t[name]
		if parent := path.Dir(name); parent != "." && (t[parent] == nil || t[parent].Typeflag != tar.TypeDir) {
			return fmt.Errorf("%s is in %s, which is no folder", name, parent)
		}
		header := e.Header
		header.Name, header.Size, header.Format = name, int64(len(e.body)), tar.FormatPAX
		if e.Typeflag == tar.TypeDir {
			header.Name += "/"
		}
		if err := archive.WriteHeader(&header); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := io.Copy(archive, bytes.NewReader(e.body)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return archive.Close()
}
