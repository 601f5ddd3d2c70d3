package containers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// youngFor is how long a container may take until it can be signalled.
const youngFor = time.Second

// awaitSignals waits until a container's first process takes a signal. Before, the process is still runc, or an init that
// has not blocked its signals yet, and the kernel would drop the signal. A program that neither blocks nor catches it is
// not waited for longer than youngFor.
func awaitSignals(ctx context.Context, pid uint32, s syscall.Signal) {
	ctx, cancel := context.WithTimeout(ctx, youngFor)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !takes(pid, s) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// takes reports whether a process is not runc any more and blocks or catches a signal. One that has ended takes anything.
func takes(pid uint32, s syscall.Signal) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	command, err := os.ReadFile(proc + "cmdline")
	status, serr := os.ReadFile(proc + "status")
	if err != nil || serr != nil {
		return true
	}
	if args := bytes.Split(command, []byte{0}); len(args) > 1 && bytes.HasSuffix(args[0], []byte("runc")) && string(args[1]) == "init" {
		return false
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if name != "SigBlk" && name != "SigCgt" {
			continue
		}
		if mask, err := strconv.ParseUint(value, 16, 64); err == nil && s > 0 && mask&(1<<(s-1)) != 0 {
			return true
		}
	}
	return false
}
