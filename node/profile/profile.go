package profile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/runtime/engine"
)

// Config has what a node is made of, as far as the machine does not say it.
type Config struct {
	Settings config.Node
	Version  api.Version
	// Runc, Shim and Init are the paths of the helper programs; "" for none.
	Runc, Shim, Init string
	// Controllers returns the cgroup version of each controller, "v1" or "v2".
	Controllers func() map[string]string
	// DiskQuotas reports whether the file system enforces disk quotas.
	DiskQuotas func() bool
	// Listeners are the kinds of addresses that the node listens on, such as "public-https".
	Listeners []string
}

// Facts returns what the node is made of.
func Facts(ctx context.Context, cfg Config) []api.Fact {
	var facts []api.Fact
	add := func(name, value string) {
		facts = append(facts, api.Fact{Name: name, Value: cmp.Or(value, "none"), Kind: api.MustEqual})
	}
	add("micro", cfg.Version.Version)
	add("program", Program())
	add("go", cfg.Version.Go)
	add("architecture", runtime.GOARCH)
	add("kernel", kernel())
	add("system", osRelease("/etc/os-release"))
	version, controllers := cgroups(cfg.Controllers())
	add("cgroup", version)
	add("cgroup controllers", controllers)
	modules := moduleVersions()
	add("containerd", engine.Version())
	add("buildkit", modules["github.com/moby/buildkit"])
	add("runc", runcVersion(ctx, cfg.Runc))
	add("shim", Sum(cfg.Shim))
	add("init", Sum(cfg.Init))
	add("open files", openFiles())
	add("disk quotas", map[bool]string{true: "by the file system", false: "measured"}[cfg.DiskQuotas()])
	add("listeners", strings.Join(slices.Sorted(slices.Values(cfg.Listeners)), ", "))
	return append(facts, settings(cfg.Settings)...)
}

// settings returns the settings that decide how apps run, and how large things may be.
func settings(n config.Node) (facts []api.Fact) {
	size := func(bytes int64) string {
		if bytes == 0 {
			return "default"
		}
		return cloud.FormatSize(bytes)
	}
	count := func(n int64) string {
		if n == 0 {
			return "default"
		}
		return strconv.FormatInt(n, 10)
	}
	span := func(d time.Duration) string {
		if d == 0 {
			return "default"
		}
		return d.String()
	}
	for _, s := range [][2]string{
		{"overlay", string(n.Overlay.Mode)},
		{"proxy-protocol", map[bool]string{true: "on", false: "off"}[len(n.Proxies.Protocol) > 0]},
		{"acme-directory", cmp.Or(n.ACME.Directory, "default")},
		{"admin-role", cmp.Or(string(n.AdminRole), "default")},
		{"dns-rate", count(int64(n.Names.Rate))},
		{"log-limit", size(n.Limits.Logs)},
		{"audit-lines", count(int64(n.Limits.AuditLines))},
		{"image-size", size(n.Limits.ImageSize)},
		{"upload-size", size(n.Limits.Upload)},
		{"upload-files", count(int64(n.Limits.Files))},
		{"disk-free", size(n.Limits.DiskFree)},
		{"build-time", span(n.Build.Time)},
		{"build-memory", size(n.Build.Memory)},
		{"build-cpu", count(n.Build.CPU)},
		{"build-pids", count(n.Build.Pids)},
		{"build-cache", size(n.Build.Cache)},
	} {
		facts = append(facts, api.Fact{Name: "setting " + s[0], Value: s[1], Kind: api.MustEqual})
	}
	return facts
}

// Program returns the SHA-256 of the program that this process runs, as sha256:HEX.
var Program = sync.OnceValue(func() string { return Sum("/proc/self/exe") })

// Sum returns the SHA-256 of a file as sha256:HEX; "" if it can't be read.
func Sum(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// osRelease returns the name of the system that is installed (os-release(5)).
func osRelease(path string) string {
	b, _ := os.ReadFile(path) // a machine without the file has no name
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}

// cgroups returns the versions that are in use, and all controllers with theirs.
func cgroups(of map[string]string) (version, controllers string) {
	var all, versions []string
	for name, v := range of {
		all, versions = append(all, name+" "+v), append(versions, v)
	}
	slices.Sort(all)
	slices.Sort(versions)
	return strings.Join(slices.Compact(versions), " and "), strings.Join(all, ", ")
}

// moduleVersions returns the versions of the modules that the program is built from.
func moduleVersions() map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		versions[m.Path] = m.Version
	}
	return versions
}

// runcTime is how long runc may take to say its version.
const runcTime = 5 * time.Second

func runcVersion(ctx context.Context, program string) string {
	ctx, cancel := context.WithTimeout(ctx, runcTime)
	defer cancel()
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "unknown: " + filepath.Base(path) + " does not say it"
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(strings.TrimSpace(first), "runc version ")
}

func openFiles() string {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return ""
	}
	return strconv.FormatUint(limit.Cur, 10)
}
