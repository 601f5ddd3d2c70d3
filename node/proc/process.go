package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Alive says whether a process runs: one that has ended and whose threads still go does not.
func Alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// Name describes a process for a message: "process 123 (micro up)".
func Name(pid int) string {
	if pid == 0 {
		return "an unknown process"
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return fmt.Sprintf("process %d", pid)
	}
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	args[0] = filepath.Base(args[0])
	return fmt.Sprintf("process %d (%s)", pid, strings.Join(strings.Fields(strings.Join(args[:min(len(args), 3)], " ")), " "))
}
