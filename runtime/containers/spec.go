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

// capabilities are those that official images need to change owners and to switch to their own user. They apply only
// inside the container's user namespace.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID",
	"CAP_KILL", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
}

// maxTerminals limits a container's pseudo-terminals. The machine has 4096 in all (kernel.pty.max).
const maxTerminals = 64

func mapping(tenant uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: network.Base(tenant), Size: network.Range}}
}

// spec returns runc's specification of the container.
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
	s.Process.Rlimits = nil // inherited from the shim, see package shim
	// If the machine runs out of memory, apps are killed before micro and the host's services.
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

// mounts returns containerd's default mounts, without /run, which would hide the image's, and with the cgroup's files
// from which language runtimes read their limits, three files in /etc, and the volumes.
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
	if len(c.BindingFiles) > 0 {
		all = append(all, specs.Mount{
			Destination: cloud.BindingRoot, Type: "bind", Source: d.bindings(c.ID),
			Options: []string{"bind", "rprivate", "ro", "nosuid", "nodev", "noexec"},
		})
	}
	for _, m := range c.Mounts {
		if _, err := os.Stat(m.Source); err != nil {
			return nil, cloud.Errorf(cloud.Invalid, "volume at %s: %w", m.Target, err)
		}
		// nosuid, because a setuid file that the container's root makes on a volume could be used on the host.
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

// sized sets the size of shared memory to the container's memory limit, which includes it. With a smaller size, a program
// that uses more would be killed by SIGBUS without an explanation.
func sized(options []string, bytes int64) []string {
	options = slices.DeleteFunc(slices.Clone(options), func(o string) bool { return strings.HasPrefix(o, "size=") })
	return append(options, fmt.Sprintf("size=%d", bytes))
}

// arguments returns what is executed: the caller's arguments, a shell with the caller's command line, or the image's
// command.
func arguments(c runtime.Container, image *image) ([]string, error) {
	if len(c.Args) > 0 {
		return c.Args, nil
	}
	if c.Command == "" {
		args := append(slices.Clone(image.config.Entrypoint), image.config.Cmd...)
		if len(args) == 0 {
			return nil, cloud.Errorf(cloud.Invalid, "the image has no command to run").
				WithHint("set command in micro.yml")
		}
		return args, nil
	}
	if image.shell {
		return []string{"/bin/sh", "-c", c.Command}, nil
	}
	words, err := shlex.Split(c.Command)
	if err != nil || len(words) == 0 {
		return nil, cloud.Errorf(cloud.Invalid, "cannot split command %q into words, and the image has no /bin/sh to run it", c.Command)
	}
	if strings.ContainsAny(c.Command, "|&;<>()$`*?") {
		return nil, cloud.Errorf(cloud.Invalid, "command %q needs a shell, but the image has no /bin/sh", c.Command).
			WithHint("use plain words, or an image with a shell")
	}
	return words, nil
}

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment returns micro's own variables, overridden by the image's and then the caller's.
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

// override adds variables to an environment. Later values replace earlier ones.
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

// terminal reports whether a command has a terminal, and its size if known.
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

// hostname returns the container's host name, shortened to what the kernel and resolvers accept.
func hostname(c runtime.Container) string {
	h := c.Hostname
	if h == "" {
		h = c.ID
	}
	return strings.Trim(h[:min(len(h), 63)], ".-")
}

// capabilitiesOf returns the capabilities of a user's process. Users other than root start without effective ones, and
// no_new_privs prevents that they gain any.
func capabilitiesOf(u execUser) *specs.LinuxCapabilities {
	if u.uid != 0 {
		return &specs.LinuxCapabilities{Bounding: capabilities}
	}
	return &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities}
}
