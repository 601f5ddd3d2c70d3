package build

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
)

// The build process has a cgroup, and its steps have another: a step that uses up the memory is killed, and the process
// can report that. If the CPUs are busy, both cgroups together get half of the share that all apps together get, so that
// requests are still answered during a build.
const (
	processGroup = "/process"
	stepsGroup   = "/steps"
	cpuShares    = 512 // cgroup v1; the default is 1,024
	cpuWeight    = 50  // cgroup v2; the default is 100
)

// makeCgroups creates both cgroups with their limits, and moves the waiting process into its cgroup.
func makeCgroups(parent string, pid int, l Limits) error {
	return errors.Join(
		makeCgroup(parent, -1, cgroups.Resources{CpuShares: cpuShares, CpuWeight: cpuWeight}),
		makeCgroup(parent+processGroup, pid, cgroups.Resources{Memory: processMemory, PidsLimit: new(int64(processPids))}),
		makeCgroup(parent+stepsGroup, -1, cgroups.Resources{
			Memory: l.Memory, PidsLimit: new(l.Pids), CpuPeriod: 100_000, CpuQuota: l.CPU * 100,
		}),
	)
}

// makeCgroup creates a cgroup with a process in it; -1 for no process.
func makeCgroup(path string, pid int, r cgroups.Resources) error {
	r.SkipDevices = true
	m, err := newCgroup(path, &r)
	if err != nil {
		return err
	}
	if err := m.Apply(pid); err != nil {
		return fmt.Errorf("make cgroup %s: %w", path, err)
	}
	if err := m.Set(&r); err != nil {
		return fmt.Errorf("set the limits of cgroup %s: %w", path, err)
	}
	return nil
}

func newCgroup(path string, r *cgroups.Resources) (cgroups.Manager, error) {
	m, err := manager.New(&cgroups.Cgroup{Path: path, Resources: r})
	if err != nil {
		return nil, fmt.Errorf("cgroup %s: %w", path, err)
	}
	return m, nil
}

// sweepCgroup kills all processes in both cgroups, waits until they have ended, and removes the cgroups.
func sweepCgroup(parent string) error {
	var errs []error
	for _, path := range []string{parent + processGroup, parent + stepsGroup, parent} {
		m, err := newCgroup(path, &cgroups.Resources{SkipDevices: true})
		if err == nil {
			err = emptyCgroup(m)
		}
		if err == nil {
			err = m.Destroy()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func emptyCgroup(m cgroups.Manager) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		pids, err := m.GetAllPids()
		if err != nil || len(pids) == 0 {
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			return err
		}
		for _, pid := range pids {
			// ESRCH: the process has already ended.
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the kernel has no event for "gone"
	}
}
