package succession

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// replacesVar tells the next program that it has taken the place of another one, whose version it has.
const replacesVar = "MICRO_REPLACES"

// notAgain are settings of the last start that must not hold for the next one.
var notAgain = []string{"recover", "join"}

// Exec executes a program in the place of this process, with the same arguments. env is added to the environment. It returns
// only if that fails.
func Exec(program, version string, env []string) error {
	args := append([]string{program}, withoutSettings(os.Args[1:], notAgain)...)
	vars := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == replacesVar || slices.ContainsFunc(notAgain, func(s string) bool { return name == "MICRO_"+strings.ToUpper(s) })
	})
	vars = append(append(vars, env...), replacesVar+"="+version)
	if err := syscall.Exec(program, args, vars); err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot execute %s: %w", program, err)
	}
	return nil
}

// withoutSettings returns the arguments without some flags and their values.
func withoutSettings(args, names []string) (kept []string) {
	for k := 0; k < len(args); k++ {
		name, _, joined := strings.Cut(strings.TrimLeft(args[k], "-"), "=")
		if !strings.HasPrefix(args[k], "-") || !slices.Contains(names, name) {
			kept = append(kept, args[k])
			continue
		}
		if !joined {
			k++ // its value
		}
	}
	return kept
}

// Replaces returns the version of the program whose place this process has taken; "" if it was started anew. It may be
// asked once: children must not believe the same.
func Replaces() string {
	version := os.Getenv(replacesVar)
	_ = os.Unsetenv(replacesVar) // never fails
	return version
}

// ReapInherited waits for the children of the program before this one, which are this process's children now: shims, for
// example. Otherwise they would stay zombies after their end. It must be called before this program has children of its own.
func ReapInherited() error {
	children, err := childrenOf(os.Getpid())
	if err != nil {
		return err
	}
	for _, pid := range children {
		fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
		if err != nil {
			return cloud.Errorf(cloud.Unavailable, "cannot wait for process %d: %w", pid, err)
		}
		go reap(os.NewFile(uintptr(fd), "pidfd"), pid)
	}
	return nil
}

// reap waits for the end of a child, without a thread of its own.
func reap(pidfd *os.File, pid int) {
	defer pidfd.Close()
	c, err := pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = c.Read(func(uintptr) bool {
		var status unix.WaitStatus
		ended, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		return ended == pid || err != nil
	})
}

// childrenOf lists the children of a process.
func childrenOf(parent int) (children []int, err error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		var pid, ppid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		if !ok {
			continue
		}
		var state string
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil && ppid == parent {
			children = append(children, pid)
		}
	}
	return children, nil
}
