package debimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// apt asks apt-get about a system on which nothing is installed, without touching the one it runs on.
type apt struct {
	dir string // of the cache
}

// archives holds the downloaded packages.
func (a apt) archives() string { return filepath.Join(a.dir, "archives") }

// run calls apt-get in a folder. With the host's package lists first, which are most often there and
// fresh; ours are fetched only where those are missing or name packages that the mirror no longer has.
func (a apt) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	own := []string{"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists")}
	if a.haveLists() {
		if out, err := a.get(ctx, dir, append(args, own...)...); err == nil {
			return out, nil
		}
	}
	out, err := a.get(ctx, dir, args...)
	if err == nil {
		return out, nil
	}
	if _, updateErr := a.get(ctx, dir, append([]string{"update", "-o", "APT::Update::Error-Mode=any"}, own...)...); updateErr != nil {
		return nil, errors.Join(err, updateErr)
	}
	return a.get(ctx, dir, append(args, own...)...)
}

func (a apt) haveLists() bool {
	lists, _ := filepath.Glob(filepath.Join(a.dir, "lists", "*_Packages*"))
	return len(lists) > 0
}

func (a apt) get(ctx context.Context, dir string, args ...string) ([]byte, error) {
	for _, dir := range []string{dir, filepath.Join(a.dir, "none", "partial"), filepath.Join(a.dir, "lists", "partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	command := args[0]
	args = append([]string{
		"-qq", "-y", "--no-install-recommends",
		"-o", "Dir::State::status=/dev/null",
		"-o", "Dir::Cache=" + a.dir,
		"-o", "Dir::Cache::archives=" + filepath.Join(a.dir, "none"), // or known ones are not printed
		"-o", "Debug::NoLocking=1", // Build's lock stands for it
		"-o", "APT::Sandbox::User=root",
	}, args...)
	if release := codename(); release != "" {
		// Other vendors' repositories on this host have no say in what is in the image.
		args = append(args, "-o", fmt.Sprintf("APT::Default-Release=/^%s(-security|-updates)?$/", release))
	}
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("apt-get %s: %w: %s", command, err, strings.TrimSpace(problems.String()))
	}
	return out.Bytes(), nil
}

// resolve returns the file names of the packages that names stand for, with all they depend on but
// without those that match a pattern in leave, sorted.
func (a apt) resolve(ctx context.Context, names, leave []string) ([]string, error) {
	out, err := a.run(ctx, a.dir, append([]string{"install", "--print-uris"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", strings.Join(names, " "), err)
	}
	var debs []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line) // 'http://…' name_version_arch.deb size hash
		if len(fields) < 3 {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "_")
		left := slices.ContainsFunc(leave, func(pattern string) bool {
			ok, _ := path.Match(pattern, name)
			return ok
		})
		if !left {
			debs = append(debs, fields[1])
		}
	}
	slices.Sort(debs)
	return debs, nil
}

// fetch makes sure that debs, as resolve returned them, are in the archive folder.
func (a apt) fetch(ctx context.Context, debs []string) error {
	var missing, wanted []string
	for _, deb := range debs {
		if _, err := os.Stat(filepath.Join(a.archives(), deb)); err == nil {
			continue
		}
		fields := strings.Split(deb, "_")
		missing = append(missing, deb)
		wanted = append(wanted, fields[0]+"="+strings.ReplaceAll(fields[1], "%3a", ":"))
	}
	if len(wanted) == 0 {
		return nil
	}
	// apt checks a package when it is whole: what has been moved to the archive folder is.
	partial := filepath.Join(a.archives(), "partial")
	if _, err := a.run(ctx, partial, append([]string{"download"}, wanted...)...); err != nil {
		return fmt.Errorf("download %s: %w", strings.Join(wanted, " "), err)
	}
	for _, deb := range missing {
		if err := os.Rename(filepath.Join(partial, deb), filepath.Join(a.archives(), deb)); err != nil {
			return err
		}
	}
	return nil
}

// codename is Debian's word for this release, "bookworm"; "" on another system.
func codename() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil || !bytes.Contains(text, []byte("\nID=debian")) {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return ""
}
