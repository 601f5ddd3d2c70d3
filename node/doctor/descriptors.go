package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/api"
)

// fewLeft is the fraction of a limit (1/fewLeft) that must be left; below that, the check warns.
const fewLeft = 5

// checkDescriptors warns if micro or the whole machine has few file descriptors left: without descriptors, no
// connection is accepted and no instance can be started or checked.
func checkDescriptors(proc string) api.Check {
	const name = "descriptors"
	open, err := os.ReadDir(filepath.Join(proc, "self/fd"))
	if err != nil {
		return check(name, api.Warn, "", "cannot count micro's file descriptors: %v", err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return check(name, api.Warn, "", "cannot read the limit of file descriptors: %v", err)
	}
	used, most, err := machineFiles(filepath.Join(proc, "sys/fs/file-nr"))
	switch {
	case err != nil:
		return check(name, api.Warn, "", "cannot count the machine's open files: %v", err)
	case uint64(len(open)) > limit.Cur-limit.Cur/fewLeft:
		return check(name, api.Warn, "LimitNOFILE= of micro's systemd unit, or ulimit -n", "micro has %d of %d file descriptors open", len(open), limit.Cur)
	case used > most-most/fewLeft:
		return check(name, api.Warn, "sysctl -w fs.file-max=NUMBER", "the machine has %d of %d files open", used, most)
	}
	return check(name, api.OK, "", "micro has %d of %d file descriptors open", len(open), limit.Cur)
}

// machineFiles returns how many files are open on the whole machine, and the limit (proc(5), file-nr).
func machineFiles(file string) (used, most uint64, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) != 3 {
		return 0, 0, fmt.Errorf("%s has %q", file, b)
	}
	if used, err = strconv.ParseUint(fields[0], 10, 64); err == nil {
		most, err = strconv.ParseUint(fields[2], 10, 64)
	}
	return used, most, err
}
