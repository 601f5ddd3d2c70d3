package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FilesConfig is what a Files needs.
type FilesConfig struct {
	// Paths are certificates, each a file NAME.crt or NAME.pem with its key in NAME.key, and folders of such files.
	Paths []string
	Log   *slog.Logger
}

// Files are certificates that somebody else gets and puts into files. The files are looked at from time to time: one
// that has changed is served soon, and one that cannot be read leaves the certificate that was there.
type Files struct {
	FilesConfig
	byName atomic.Pointer[map[string]*tls.Certificate]

	mu   sync.Mutex
	read map[string]readFile // by path
}

// readFile is a certificate, and what its files were when it was read.
type readFile struct {
	state string // of both files
	cert  *tls.Certificate
	err   error // of the last try
}

// filesEvery is how often the files are looked at.
const filesEvery = 10 * time.Second

// NewFiles reads the files.
func NewFiles(cfg FilesConfig) *Files {
	f := &Files{FilesConfig: cfg, read: map[string]readFile{}}
	f.byName.Store(&map[string]*tls.Certificate{})
	f.look()
	return f
}

// Run looks at the files until ctx ends.
func (f *Files) Run(ctx context.Context) {
	if len(f.Paths) == 0 {
		return
	}
	t := time.NewTicker(filesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f.look()
		}
	}
}

// Certificate returns that of a name; nil where no file has one.
func (f *Files) Certificate(name string) *tls.Certificate { return lookup(*f.byName.Load(), name) }

// look reads what has changed.
func (f *Files) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	paths := f.paths()
	for path := range f.read {
		if !slices.Contains(paths, path) {
			delete(f.read, path)
		}
	}
	byName := map[string]*tls.Certificate{}
	for _, path := range paths {
		was := f.read[path]
		state := stateOf(path) + stateOf(keyOf(path))
		if was.state != state {
			c, err := readPair(path)
			if err != nil {
				f.Log.Warn("a certificate cannot be read", "file", path, "err", err)
				c = was.cert
			}
			was = readFile{state, c, err}
			f.read[path] = was
		}
		if was.cert == nil {
			continue
		}
		for _, name := range was.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			// Of several for a name that which lasts longest.
			if other := byName[name]; other == nil || other.Leaf.NotAfter.Before(was.cert.Leaf.NotAfter) {
				byName[name] = was.cert
			}
		}
	}
	f.byName.Store(&byName)
}

// paths returns the files of certificates, sorted.
func (f *Files) paths() (files []string) {
	for _, p := range f.Paths {
		info, err := os.Stat(p)
		if err != nil || !info.IsDir() {
			files = append(files, p)
			continue
		}
		entries, _ := os.ReadDir(p) // a folder that cannot be read has none
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); ext == ".crt" || ext == ".pem" {
				files = append(files, filepath.Join(p, e.Name()))
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func keyOf(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".key" }

// stateOf is what tells whether a file has changed.
func stateOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "-"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), ";")
}

func readPair(path string) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(path, keyOf(path))
	if err != nil {
		return nil, err
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, err
		}
	}
	if len(c.Leaf.DNSNames) == 0 {
		return nil, fmt.Errorf("%s names no host", path)
	}
	return &c, nil
}

// FileCertificate is a certificate of a file, for people.
type FileCertificate struct {
	Path   string
	Names  []string
	Issuer string
	From   time.Time
	// Expires is zero where the file was never read.
	Expires time.Time
	Err     error // why it was not read when it last changed
}

// List returns what the files have, by path.
func (f *Files) List() (list []FileCertificate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(f.read)) {
		r := f.read[path]
		c := FileCertificate{Path: path, Err: r.err}
		if r.cert != nil {
			l := r.cert.Leaf
			c.Names, c.From, c.Expires, c.Issuer = l.DNSNames, l.NotBefore, l.NotAfter, nameOf(l.Issuer.Organization, l.Issuer.CommonName)
		}
		list = append(list, c)
	}
	return list
}
