package memory

import (
	"os"
	"strconv"
	"strings"
)

// Resident returns how many bytes of the process's memory are in RAM (proc(5), statm), or 0 if /proc can't be read.
func Resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
