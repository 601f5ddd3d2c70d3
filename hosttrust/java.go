package hosttrust

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// javaStore is the key store of a Java runtime.
type javaStore struct {
	h    *Host
	home string // of the runtime
	file string // its key store
}

// javaStores returns those of JAVA_HOME and of the runtimes that are installed where distributions put them. Debian
// makes all of them links to one file.
func (h *Host) javaStores() (all []store) {
	homes := h.glob("/usr/lib/jvm/*")
	if home := h.Env("JAVA_HOME"); home != "" {
		homes = append([]string{home}, homes...)
	}
	var seen []string
	for _, home := range homes {
		file := filepath.Join(home, "lib/security/cacerts")
		if !h.exists(file) {
			file = filepath.Join(home, "jre/lib/security/cacerts")
		}
		real, err := filepath.EvalSymlinks(h.path(file))
		if err != nil || slices.Contains(seen, real) {
			continue
		}
		seen = append(seen, real)
		all = append(all, javaStore{h, home, real})
	}
	return all
}

func (s javaStore) String() string { return fmt.Sprintf("Java (%s)", s.home) }

// keytool is the runtime's own, or the one in PATH.
func (s javaStore) keytool() string {
	for _, own := range []string{s.h.path(filepath.Join(s.home, "bin/keytool")), s.h.path(filepath.Join(s.home, "jre/bin/keytool"))} {
		if info, err := os.Stat(own); err == nil && info.Mode().IsRegular() {
			return own
		}
	}
	return "keytool"
}

func (s javaStore) need() (program, debian string) {
	if k := s.keytool(); k != "keytool" || s.h.Find(k) {
		return "", ""
	}
	return "keytool", "default-jre-headless"
}

// password is that of every key store that comes with a runtime. It keeps nothing secret: there are only
// certificates in it.
const password = "changeit"

// names finds authorities by the names that Install gives, and by those that Debian's hook gives what is in the
// system's store: "debian:NAME.pem".
func (s javaStore) names(ctx context.Context) (names []string, err error) {
	out, err := s.h.Run(ctx, false, s.keytool(), "-list", "-keystore", s.file, "-storepass", password)
	if err != nil {
		return nil, fmt.Errorf("keytool: %w: %s", err, strings.TrimSpace(out))
	}
	for line := range strings.Lines(out) {
		alias, _, _ := strings.Cut(line, ",")
		name := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(alias), "debian:"), ".pem")
		if isOurs(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (s javaStore) add(ctx context.Context, a *Authority) error {
	file, err := s.h.temporary(a)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	return s.h.run(ctx, false, s.keytool(), "-importcert", "-noprompt", "-trustcacerts", "-keystore", s.file, "-storepass", password, "-alias", a.name(), "-file", file)
}

func (s javaStore) remove(ctx context.Context, name string) error {
	out, err := s.h.Run(ctx, false, s.keytool(), "-delete", "-keystore", s.file, "-storepass", password, "-alias", name)
	if err == nil {
		return nil
	}
	if s.h.run(ctx, false, s.keytool(), "-delete", "-keystore", s.file, "-storepass", password, "-alias", "debian:"+name+".pem") == nil {
		return nil
	}
	return fmt.Errorf("keytool: %w: %s", err, strings.TrimSpace(out))
}
