package containers

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Minimum limits of a container. The kernel's scheduler accepts no smaller share of CPU.
const (
	minMemory = cloud.MinMemory
	minCPU    = 10
	cpuPeriod = 100_000 // microseconds
)

// hierarchy is where a cgroup controller is mounted, and its version. A machine may use both versions together.
type hierarchy struct {
	mount string
	v2    bool
}

// hierarchies returns the hierarchy of each controller.
func hierarchies() (map[string]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	defer f.Close()
	all := map[string]hierarchy{}
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		switch right[0] {
		case "cgroup":
			for c := range strings.SplitSeq(right[2], ",") {
				all[c] = hierarchy{mount: left[4]}
			}
		case "cgroup2":
			b, err := os.ReadFile(filepath.Join(left[4], "cgroup.controllers"))
			if err != nil {
				return nil, fmt.Errorf("cgroups: %w", err)
			}
			for c := range strings.FieldsSeq(string(b)) {
				all[c] = hierarchy{mount: left[4], v2: true}
			}
			// Version 2 always counts CPU time, and does not list a controller for it.
			if _, ok := all["cpuacct"]; !ok {
				all["cpuacct"] = hierarchy{mount: left[4], v2: true}
			}
		}
	}
	return all, nil
}

// cgroup is a container's cgroup in all hierarchies.
type cgroup struct {
	at   map[string]hierarchy
	path string // below each hierarchy's mount
}

// cgroupPath returns the path of a container's cgroup; id "" is the parent of all of this node's cgroups.
func cgroupPath(state, id string) string { return filepath.Join("/micro", filepath.Base(state), id) }

func (d *Driver) cgroupOf(id string) cgroup {
	return cgroup{d.hierarchies, cgroupPath(d.engine.State(), id)}
}

// file returns the path of a controller's file, from its names in both versions.
func (g cgroup) file(controller, v1, v2 string) (string, error) {
	h, ok := g.at[controller]
	if !ok {
		return "", fmt.Errorf("the kernel has no %s controller in use", controller)
	}
	name := v1
	if h.v2 {
		name = v2
	}
	return filepath.Join(h.mount, g.path, name), nil
}

func (g cgroup) read(controller, v1, v2 string) (string, error) {
	file, err := g.file(controller, v1, v2)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(file)
	return strings.TrimSpace(string(b)), err
}

func (g cgroup) number(controller, v1, v2 string) (int64, error) {
	s, err := g.read(controller, v1, v2)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// field returns a number from a file of names and numbers.
func (g cgroup) field(controller, v1, v2, key1, key2 string) (int64, error) {
	text, err := g.read(controller, v1, v2)
	if err != nil {
		return 0, err
	}
	key := key1
	if g.at[controller].v2 {
		key = key2
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no %q", g.path, key)
}

// oomKills returns how many processes were killed because memory ran out.
func (g cgroup) oomKills() (int64, error) {
	return g.field("memory", "memory.oom_control", "memory.events", "oom_kill", "oom_kill")
}

func (g cgroup) stats() (runtime.Stats, error) {
	var s runtime.Stats
	var errs [6]error
	var usage, inactive, cpu int64
	usage, errs[0] = g.number("memory", "memory.usage_in_bytes", "memory.current")
	inactive, errs[1] = g.field("memory", "memory.stat", "memory.stat", "total_inactive_file", "inactive_file")
	s.Pids, errs[2] = g.number("pids", "pids.current", "pids.current")
	s.OOMKills, errs[3] = g.oomKills()
	if g.at["cpuacct"].v2 {
		cpu, errs[4] = g.field("cpuacct", "", "cpu.stat", "", "usage_usec")
		cpu *= 1000
	} else {
		cpu, errs[4] = g.number("cpuacct", "cpuacct.usage", "")
	}
	s.CPU, s.Memory = time.Duration(cpu), max(usage-inactive, 0)
	s.MemoryLimit, errs[5] = g.number("memory", "memory.limit_in_bytes", "memory.max")
	return s, errors.Join(errs[:]...)
}

// resources returns the limits in runc's format.
func (d *Driver) resources(c runtime.Container) *specs.LinuxResources {
	quota, period, shares := c.CPU*cpuPeriod/1000, uint64(cpuPeriod), uint64(max(c.CPU*1024/1000, 2))
	memory, pids := c.Memory, c.Pids
	r := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
		Memory:  &specs.LinuxMemory{Limit: &memory},
		CPU:     &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares},
		Pids:    &specs.LinuxPids{Limit: &pids},
	}
	// No swap: an app that needs more memory than its limit should be killed and reported, instead of becoming slow. A
	// kernel without swap accounting has no such setting.
	h := d.hierarchies["memory"]
	if _, err := os.Stat(filepath.Join(h.mount, "memory.memsw.limit_in_bytes")); h.v2 || err == nil {
		r.Memory.Swap = &memory
	}
	return r
}

// verifyLimits reads the limits back before the container runs, to be sure that they are in effect.
func (d *Driver) verifyLimits(pid uint32, c runtime.Container) error {
	g := d.cgroupOf(c.ID)
	var errs []error
	check := func(controller, v1, v2 string, want ...string) {
		got, err := g.read(controller, v1, v2)
		if err == nil && !slices.Contains(want, got) {
			err = fmt.Errorf("%s is %q, not %q", v2, got, want[0])
		}
		if err == nil {
			err = inCgroup(pid, g.path, controller, g.at[controller].v2)
		}
		errs = append(errs, err)
	}
	pages := strconv.FormatInt(c.Memory&^(int64(os.Getpagesize())-1), 10)
	check("memory", "memory.limit_in_bytes", "memory.max", pages)
	check("pids", "pids.max", "pids.max", strconv.FormatInt(c.Pids, 10))
	quota := strconv.FormatInt(c.CPU*cpuPeriod/1000, 10)
	check("cpu", "cpu.cfs_quota_us", "cpu.max", quota, quota+" "+strconv.Itoa(cpuPeriod))
	if err := errors.Join(errs...); err != nil {
		return cloud.Errorf(cloud.Unavailable, "its limits can't be applied: %w", err).WithCommand("micro doctor")
	}
	return nil
}

// inCgroup checks that a process is in a cgroup.
func inCgroup(pid uint32, path, controller string, v2 bool) error {
	is, err := cgroupOfProcess(strconv.Itoa(int(pid)), controller, v2)
	if err == nil && !strings.HasSuffix(is, path) {
		err = fmt.Errorf("process %d is not in the %s cgroup %s", pid, controller, path)
	}
	return err
}

// cgroupOfProcess returns the path of a process's cgroup, relative to the controller's mount (cgroups(7)).
func cgroupOfProcess(pid, controller string, v2 bool) (string, error) {
	b, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) == 3 && (v2 && part[0] == "0" || slices.Contains(strings.Split(part[1], ","), controller)) {
			return part[2], nil
		}
	}
	return "", fmt.Errorf("process %s is in no %s cgroup", pid, controller)
}

// warmUpCgroups makes the kernel ready to move processes between cgroups. The first move after a while waits for an RCU
// grace period, 10 ms and more, and would delay runc. warmUpCgroups moves this process to the cgroup in which it already
// is, so that the kernel waits while other parts of the container are made, and the next moves are fast.
func (d *Driver) warmUpCgroups() {
	h := d.hierarchies["memory"]
	path, err := cgroupOfProcess("self", "memory", h.v2)
	if err == nil {
		err = os.WriteFile(filepath.Join(h.mount, path, "cgroup.procs"), []byte("0"), 0)
	}
	if err != nil {
		d.log.Debug("cannot prepare cgroup moves", "err", err)
	}
}

// remove removes the cgroup and those below it, and kills their processes.
func (g cgroup) remove() error {
	var errs []error
	for _, dir := range g.folders() {
		errs = append(errs, removeCgroup(dir))
	}
	return errors.Join(errs...)
}

// folders returns the cgroup's folders, one per mounted hierarchy.
func (g cgroup) folders() []string {
	seen := map[string]bool{}
	for _, h := range g.at {
		seen[filepath.Join(h.mount, g.path)] = true
	}
	var all []string
	for dir := range seen {
		all = append(all, dir)
	}
	slices.Sort(all)
	return all
}

// killTimeout is how long killed processes may take to end.
const killTimeout = 5 * time.Second

func removeCgroup(dir string) error {
	deadline := time.Now().Add(killTimeout)
	for wait := time.Millisecond; ; wait *= 2 {
		err := tryRemoveCgroup(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(wait) //nolint:forbidigo // a busy cgroup does not notify when it is no longer busy
	}
}

func tryRemoveCgroup(dir string) error {
	below, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range below {
		if e.IsDir() {
			err = errors.Join(err, tryRemoveCgroup(filepath.Join(dir, e.Name())))
		}
	}
	procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // if that fails, so does rmdir
	for p := range strings.FieldsSeq(string(procs)) {
		if pid, e := strconv.Atoi(p); e == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL) // if that fails, so does rmdir
		}
	}
	if e := unix.Rmdir(dir); e != nil && !errors.Is(e, unix.ENOENT) {
		err = errors.Join(err, fmt.Errorf("remove cgroup %s: %w", dir, e))
	}
	return err
}
