package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime/engine"
)

// reboot does to the script's node what a reset of the machine does: micro, shims and containers are
// gone without a word, and so is all that was in memory. Only the disk is as it was.
func rebootCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: reboot")
	}
	nodeCommand(ts, false, []string{"kill"})
	state := engine.StateDir(ts.Getenv("MICRO_DATA"))
	for pid, line := range processesOf() {
		if strings.Contains(line, state) || inCgroupOf(pid, filepath.Base(state)) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	deadline := time.Now().Add(patience)
	for {
		left := 0
		for pid, line := range processesOf() {
			if strings.Contains(line, state) || inCgroupOf(pid, filepath.Base(state)) {
				left++
			}
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%d processes do not end", left)
		}
		time.Sleep(10 * time.Millisecond) // a poll, with an end
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	ts.Check(err)
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, state+"/") {
			_ = unix.Unmount(at, unix.MNT_DETACH)
		}
	}
	ts.Check(engine.RemoveState(state))
}

// processesOf are the command lines of all processes by their number.
func processesOf() map[int]string {
	all := map[int]string{}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, err := os.ReadFile(p)
		pid, perr := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err == nil && perr == nil && len(b) > 0 {
			all[pid] = string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
		}
	}
	return all
}

// inCgroupOf says whether a process is in a control group of the node with this name.
func inCgroupOf(pid int, node string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && strings.Contains(string(b), node)
}
