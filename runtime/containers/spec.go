package containers

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	profile "github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/google/shlex"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/runtime/seccomp"
)

// capabilities are what official images need to change owners and drop to a user of their own. They
// count inside the container's user namespace, and none counts outside.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID",
	"CAP_KILL", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
}

// maxTerminals bounds a container's pseudo-terminals, of which the machine has 4096 (kernel.pty.max).
const maxTerminals = 64

func mapping(tenant uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: network.Base(tenant), Size: network.Range}}
}

// spec says all about the container that runc is to make.
func (d *Driver) spec(ctx context.Context, c runtime.Container, image *image, ep network.Endpoint) (*specs.Spec, error) {
	// containerd's defaults: mounts of /proc, /dev and /sys, masked and read-only paths, no devices.
	s, err := oci.GenerateSpec(ctx, d.engine.Client(), &containers.Container{ID: c.ID})
	if err != nil {
		return nil, fmt.Errorf("its specification: %w", err)
	}
	user, err := image.user(c.User)
	if err != nil {
		return nil, err
	}
	args, err := arguments(c, image)
	if err != nil {
		return nil, err
	}
	s.Hostname = hostname(c)
	s.Root.Readonly = false
	s.Annotations = map[string]string{}
	s.Process.Args = args
	s.Process.Env = environment(c, image, user, ep)
	s.Process.Cwd = workingDir(c.Dir, image)
	s.Process.Terminal, s.Process.ConsoleSize = terminal(c.Attach)
	s.Process.NoNewPrivileges = true
	s.Process.User = user.spec()
	s.Process.Capabilities = capabilitiesOf(user)
	s.Process.Rlimits = nil // the shim's own, see there
	// When the machine runs out of memory, an app goes before micro and before the host's own services.
	score := 100
	s.Process.OOMScoreAdj = &score

	ids := mapping(c.Tenant)
	s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
	s.Linux.Namespaces = []specs.LinuxNamespace{
		{Type: specs.UserNamespace, Path: ep.UserNS}, {Type: specs.NetworkNamespace, Path: ep.NetNS},
		{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		{Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
	}
	s.Linux.CgroupsPath = cgroupPath(d.engine.State(), c.ID)
	s.Linux.Resources = d.resources(c)
	s.Linux.Sysctl = map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv4.ping_group_range":           "0 65535",
	}
	if s.Mounts, err = d.mounts(c, ids, s.Mounts); err != nil {
		return nil, err
	}
	if d.needsInit(c, args) {
		d.addInit(s)
	}
	s.Linux.Seccomp = profile.DefaultProfile(s) // depends on the capabilities
	seccomp.Tighten(s.Linux.Seccomp)
	return s, nil
}

// mounts are containerd's own, without a /run that would hide the image's, with the cgroup's files that
// runtimes read their limits from, the three files of a network, and the volumes.
func (d *Driver) mounts(c runtime.Container, ids []specs.LinuxIDMapping, all []specs.Mount) ([]specs.Mount, error) {
	all = slices.DeleteFunc(all, func(m specs.Mount) bool { return m.Destination == "/run" })
	for i, m := range all {
		switch {
		case m.Destination == "/dev/shm" && c.Memory > 0:
			all[i].Options = sized(m.Options, c.Memory)
		case m.Type == "devpts":
			all[i].Options = append(slices.Clone(m.Options), fmt.Sprintf("max=%d", maxTerminals))
		}
	}
	all = append(all, specs.Mount{
		Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
	})
	for _, f := range []string{"hosts", "hostname", "resolv.conf"} {
		all = append(all, specs.Mount{
			Destination: "/etc/" + f, Type: "bind", Source: filepath.Join(d.etc(c.ID), f),
			Options: []string{"rbind", "rprivate", "rw", "nosuid", "nodev", "noexec"},
		})
	}
	for _, m := range c.Mounts {
		if _, err := os.Stat(m.Source); err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "volume at %s: %w", m.Target, err)
		}
		// A setuid file that root of the container makes on a volume must be no one's key to the host.
		options := []string{"rbind", "rprivate", "nosuid", "nodev", "rw"}
		if m.ReadOnly {
			options[4] = "ro"
		}
		all = append(all, specs.Mount{
			Destination: filepath.Clean(m.Target), Type: "bind", Source: m.Source, Options: options,
			UIDMappings: ids, GIDMappings: ids,
		})
	}
	return all, nil
}

// sized bounds shared memory by the container's own limit, which counts it: with less, a program that asks
// for more finds memory that it was given gone, and ends by a signal that nobody can read.
func sized(options []string, bytes int64) []string {
	options = slices.DeleteFunc(slices.Clone(options), func(o string) bool { return strings.HasPrefix(o, "size=") })
	return append(options, fmt.Sprintf("size=%d", bytes))
}

// arguments are what is executed: the caller's, a shell with the caller's command line, or the image's.
func arguments(c runtime.Container, image *image) ([]string, error) {
	if len(c.Args) > 0 {
		return c.Args, nil
	}
	if c.Command == "" {
		args := append(slices.Clone(image.config.Entrypoint), image.config.Cmd...)
		if len(args) == 0 {
			return nil, cloud.Errorf(cloud.Invalid, "the image names no command to run").
				WithHint("say one: command in micro.yml")
		}
		return args, nil
	}
	if image.shell {
		return []string{"/bin/sh", "-c", c.Command}, nil
	}
	words, err := shlex.Split(c.Command)
	if err != nil || len(words) == 0 {
		return nil, cloud.Errorf(cloud.Invalid, "command %q: the image has no /bin/sh, and these are no words", c.Command)
	}
	if strings.ContainsAny(c.Command, "|&;<>()$`*?") {
		return nil, cloud.Errorf(cloud.Invalid, "command %q takes a shell, and the image has no /bin/sh", c.Command).
			WithHint("use plain words, or an image with a shell")
	}
	return words, nil
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what micro itself knows, then the image's, then the caller's.
func environment(c runtime.Container, image *image, u execUser, ep network.Endpoint) []string {
	all := []string{defaultPath, "HOSTNAME=" + hostname(c), "HOME=" + u.home}
	if u.name != "" {
		all = append(all, "USER="+u.name)
	}
	if c.Attach != nil && c.Attach.TTY {
		all = append(all, "TERM=xterm")
	}
	all = append(append(all, image.config.Env...), c.Env...)
	if c.AddressEnv != nil {
		all = append(all, c.AddressEnv(ep.IP)...)
	}
	return override(nil, all)
}

// override adds variables to an environment: later ones win, and each name is there once.
func override(env, more []string) []string {
	at := make(map[string]int, len(env)+len(more))
	var out []string
	for _, kv := range slices.Concat(env, more) {
		k, _, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			continue
		}
		if i, seen := at[k]; seen {
			out[i] = kv
			continue
		}
		at[k] = len(out)
		out = append(out, kv)
	}
	return out
}

// terminal says whether a command has one, and its size where that is known.
func terminal(c *runtime.Command) (bool, *specs.Box) {
	if c == nil || !c.TTY {
		return false, nil
	}
	if c.Rows == 0 || c.Columns == 0 {
		return true, nil
	}
	return true, &specs.Box{Height: uint(c.Rows), Width: uint(c.Columns)}
}

func workingDir(dir string, image *image) string {
	if dir == "" {
		dir = image.config.WorkingDir
	}
	return path.Join("/", dir)
}

// hostname is the wanted one as the kernel and resolvers take it.
func hostname(c runtime.Container) string {
	h := c.Hostname
	if h == "" {
		h = c.ID
	}
	return strings.Trim(h[:min(len(h), 63)], ".-")
}

// capabilitiesOf: who is not root has none to begin with, and no_new_privs sees to it that he gets none.
func capabilitiesOf(u execUser) *specs.LinuxCapabilities {
	if u.uid != 0 {
		return &specs.LinuxCapabilities{Bounding: capabilities}
	}
	return &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}
}
