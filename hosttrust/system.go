package hosttrust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// systemStore is the system's own: a folder of authorities, and a program that makes bundles of all there are.
type systemStore struct {
	h         *Host
	folder    string
	extension string
	update    []string
	// links is a folder of symbolic links to the authorities, in which update leaves those to one that is gone.
	links  string
	debian string // the package that has the program
}

// debianStore is that of Debian, Ubuntu and Alpine.
var debianStore = systemStore{
	folder: "/usr/local/share/ca-certificates", extension: ".crt", update: []string{"update-ca-certificates"},
	links: "/etc/ssl/certs", debian: "ca-certificates",
}

// systemStore returns the machine's; false where it is of no kind that is known.
func (h *Host) systemStore() (systemStore, bool) {
	if h.OS != "linux" {
		return systemStore{}, false
	}
	for _, s := range []systemStore{
		{folder: "/etc/pki/ca-trust/source/anchors", extension: ".pem", update: []string{"update-ca-trust", "extract"}},       // Fedora, RHEL
		{folder: "/etc/pki/trust/anchors", extension: ".pem", update: []string{"update-ca-certificates"}},                     // SUSE
		{folder: "/etc/ca-certificates/trust-source/anchors", extension: ".crt", update: []string{"trust", "extract-compat"}}, // Arch
		debianStore,
	} {
		if h.exists(s.folder) {
			s.h = h
			return s, true
		}
	}
	s := debianStore
	s.h = h
	return s, true
}

func (s systemStore) String() string { return "the system's store (curl, Go, Python, OpenSSL)" }

func (s systemStore) need() (program, debian string) {
	if s.h.Find(s.update[0]) {
		return "", ""
	}
	return s.update[0], s.debian
}

func (s systemStore) names(context.Context) (names []string, err error) {
	entries, err := os.ReadDir(s.h.path(s.folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), s.extension); ok && isOurs(name) {
			names = append(names, name)
		}
	}
	return names, err
}

func (s systemStore) file(name string) string {
	return s.h.path(filepath.Join(s.folder, name+s.extension))
}

func (s systemStore) add(ctx context.Context, a *Authority) error {
	if err := os.MkdirAll(s.h.path(s.folder), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.file(a.name()), a.PEM, 0o644); err != nil {
		return err
	}
	if err := s.run(ctx, s.update); err != nil {
		return errors.Join(err, os.Remove(s.file(a.name())))
	}
	return nil
}

func (s systemStore) remove(ctx context.Context, name string) error {
	if err := os.Remove(s.file(name)); err != nil {
		return err
	}
	if s.links != "" {
		s.removeLinks(name)
	}
	return s.run(ctx, s.update)
}

func (s systemStore) run(ctx context.Context, args []string) error {
	return s.h.run(ctx, false, args...)
}

// run runs a program; the error has what it printed.
func (h *Host) run(ctx context.Context, asPerson bool, args ...string) error {
	out, err := h.Run(ctx, asPerson, args[0], args[1:]...)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, strings.TrimSpace(out))
	}
	return nil
}

// removeLinks removes the link to an authority that is gone, and those to that link by a hash of its name.
func (s systemStore) removeLinks(name string) {
	link := name + ".pem"
	entries, _ := os.ReadDir(s.h.path(s.links)) // update reports what is wrong with the folder
	for _, e := range entries {
		path := s.h.path(filepath.Join(s.links, e.Name()))
		if target, err := os.Readlink(path); err == nil && (e.Name() == link || target == link) {
			_ = os.Remove(path) // a link that stays leads nowhere, and is passed over
		}
	}
}
