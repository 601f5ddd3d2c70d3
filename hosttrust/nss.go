package hosttrust

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// nssStore is a database of NSS.
type nssStore struct {
	h      *Host
	folder string
}

// nssFolders are where browsers keep their databases, below the home.
var nssFolders = []string{
	".pki/nssdb", // Chromium, Chrome, Edge
	"snap/chromium/current/.pki/nssdb",
	".mozilla/firefox/*",
	"snap/firefox/common/.mozilla/firefox/*",
	".var/app/org.mozilla.firefox/.mozilla/firefox/*",
	".config/mozilla/firefox/*",
}

func (h *Host) nssStores() (all []store) {
	if h.Home == "" {
		return nil
	}
	for _, pattern := range nssFolders {
		for _, folder := range h.glob(filepath.Join(h.Home, pattern)) {
			if h.exists(filepath.Join(folder, "cert9.db")) {
				all = append(all, nssStore{h, folder})
			}
		}
	}
	return all
}

func (s nssStore) String() string {
	who := "Firefox"
	if strings.HasSuffix(s.folder, "nssdb") {
		who = "Chromium and Chrome"
	}
	return fmt.Sprintf("%s (%s)", who, s.folder)
}

func (s nssStore) need() (program, debian string) {
	if s.h.Find("certutil") {
		return "", ""
	}
	return "certutil", "libnss3-tools"
}

func (s nssStore) database() string { return "sql:" + s.h.path(s.folder) }

func (s nssStore) names(ctx context.Context) (names []string, err error) {
	out, err := s.h.Run(ctx, true, "certutil", "-L", "-d", s.database())
	if err != nil {
		return nil, fmt.Errorf("certutil: %w: %s", err, strings.TrimSpace(out))
	}
	for line := range strings.Lines(out) {
		// "NAME                C,,": no name of ours has a space.
		if fields := strings.Fields(line); len(fields) == 2 && isOurs(fields[0]) && !slices.Contains(names, fields[0]) {
			names = append(names, fields[0])
		}
	}
	return names, nil
}

func (s nssStore) add(ctx context.Context, a *Authority) error {
	file, err := s.h.temporary(a)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	return s.h.run(ctx, true, "certutil", "-A", "-d", s.database(), "-t", "C,,", "-n", a.name(), "-i", file)
}

func (s nssStore) remove(ctx context.Context, name string) error {
	return s.h.run(ctx, true, "certutil", "-D", "-d", s.database(), "-n", name)
}

// temporary writes the authority's certificate to a file that everybody may read.
func (h *Host) temporary(a *Authority) (string, error) {
	f, err := os.CreateTemp("", "micro-*.crt")
	if err != nil {
		return "", err
	}
	_, err = f.Write(a.PEM)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), err
}
