package doctor

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/api"
)

// escapesAsOf is when the tables were last compared with the advisories.
const escapesAsOf = "November 2026"

// escape is a fault by which a process of a container gets out of it, and the versions that have it: from the first
// one on, until fixed, and in the branches that are maintained until the version of the branch that has the fix.
type escape struct {
	id, what string
	from     version
	fixed    version   // 0.0.0: see branches
	branches []version // the first version of each older branch that has the fix
}

type version [3]int

// runcEscapes are faults of runc: github.com/opencontainers/runc/security/advisories.
var runcEscapes = []escape{
	{"CVE-2019-5736", "a container overwrites the host's runc", version{}, version{1, 0, 0}, nil},
	{"CVE-2024-21626", "a descriptor of a host folder leaks into containers", version{}, version{1, 1, 12}, nil},
	{"CVE-2025-31133, CVE-2025-52565, CVE-2025-52881", "mounts of /dev/null, /dev/console and /proc can be led elsewhere", version{}, version{1, 4, 0}, []version{{1, 2, 8}, {1, 3, 3}}},
}

// kernelEscapes are faults of Linux by which containers with user namespaces were left: kernel.org's CVE list.
var kernelEscapes = []escape{
	{"CVE-2022-0185", "a heap overflow in file systems' options", version{5, 1, 0}, version{5, 17, 0}, []version{{5, 4, 173}, {5, 10, 93}, {5, 15, 16}, {5, 16, 2}}},
	{"CVE-2022-0847", "files that may only be read can be written (Dirty Pipe)", version{5, 8, 0}, version{5, 17, 0}, []version{{5, 10, 102}, {5, 15, 25}, {5, 16, 11}}},
	{"CVE-2023-0386", "overlayfs copies set-user-ID files out of a user namespace", version{5, 11, 0}, version{6, 2, 0}, []version{{5, 15, 91}, {6, 1, 9}}},
	{"CVE-2023-32233", "a use after free in nf_tables", version{3, 13, 0}, version{6, 4, 0}, []version{{5, 10, 180}, {5, 15, 111}, {6, 1, 28}, {6, 2, 15}, {6, 3, 2}}},
	{"CVE-2024-1086", "a double free in nf_tables", version{3, 15, 0}, version{6, 8, 0}, []version{{5, 10, 209}, {5, 15, 149}, {6, 1, 76}, {6, 6, 15}, {6, 7, 3}}},
}

// has reports whether a version has the fault.
func (e escape) has(v version) bool {
	if v.before(e.from) || !v.before(e.fixed) {
		return false
	}
	for _, b := range e.branches {
		if v[0] == b[0] && v[1] == b[1] {
			return v.before(b)
		}
	}
	return true
}

func (v version) before(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// parseVersion reads the numbers that a text begins with: "6.1.0-18-amd64", "1.5.2+dev". ok is false for any other.
func parseVersion(text string) (v version, ok bool) {
	for i, part := range strings.SplitN(text, ".", 3) {
		digits := len(part) - len(strings.TrimLeft(part, "0123456789"))
		n, err := strconv.Atoi(part[:digits])
		if err != nil {
			return v, i > 1
		}
		v[i] = n
		if digits < len(part) {
			return v, i > 0
		}
	}
	return v, v != version{}
}

// checkEscapes compares runc and the kernel with the faults that are known.
func (d Doctor) checkEscapes(ctx context.Context) api.Check {
	var name unix.Utsname
	kernel := ""
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Release[:])
	}
	return escapesOf(runcVersion(ctx, d.Runc), kernel)
}

// runcVersion asks runc for its version, "" where it does not say.
func runcVersion(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	line, _, _ := bytes.Cut(out, []byte("\n"))
	_, text, ok := strings.Cut(string(line), "version ")
	if err != nil || !ok {
		return ""
	}
	return strings.TrimSpace(text)
}

func escapesOf(runc, kernel string) api.Check {
	var found []string
	for _, p := range []struct {
		name, text string
		known      []escape
	}{{"runc", runc, runcEscapes}, {"Linux", kernel, kernelEscapes}} {
		v, ok := parseVersion(p.text)
		if !ok {
			continue
		}
		for _, e := range p.known {
			if e.has(v) {
				found = append(found, fmt.Sprintf("%s %s has %s: %s", p.name, p.text, e.id, e.what))
			}
		}
	}
	if len(found) > 0 {
		return check("escapes", api.Warn, "install a newer runc or kernel; a distribution's may have the fix under an older number: look the CVE up there",
			"%s (known as of %s)", strings.Join(found, "; "), escapesAsOf)
	}
	return check("escapes", api.OK, "", "no escape from containers is known of runc %s and Linux %s, as of %s", runc, kernel, escapesAsOf)
}
