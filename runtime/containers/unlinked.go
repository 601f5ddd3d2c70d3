package containers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/runtime"
)

// unlinked adds up a container's own files that are unlinked.
type unlinked struct {
	dev   uint64 // of the container's root file system
	seen  map[uint64]bool
	usage runtime.Usage
}

// unlinkedFiles returns the disk usage of a container's own files that are unlinked but that its processes hold open or
// mapped, which are not found in its folders. It skips processes that have just ended.
func (d *Driver) unlinkedFiles(id string) runtime.Usage {
	u := unlinked{seen: map[uint64]bool{}}
	procs, _ := d.cgroupOf(id).read("pids", "cgroup.procs", "cgroup.procs")
	for pid := range strings.FieldsSeq(procs) {
		process := filepath.Join("/proc", pid)
		var root unix.Stat_t
		if unix.Stat(process+"/root/", &root) != nil {
			continue
		}
		u.dev = root.Dev
		fds, _ := filepath.Glob(process + "/fd/*") // the pattern is valid
		for _, fd := range fds {
			u.add(fd)
		}
		maps, _ := os.ReadFile(process + "/maps")
		for line := range strings.Lines(string(maps)) {
			var from, to uint64
			if !strings.HasSuffix(strings.TrimSpace(line), "(deleted)") {
				continue
			}
			if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
				u.add(fmt.Sprintf("%s/map_files/%x-%x", process, from, to))
			}
		}
	}
	return u.usage
}

// add counts a file, given by a path in /proc, if it is unlinked and not counted yet.
func (u *unlinked) add(name string) {
	var st unix.Stat_t
	if unix.Stat(name, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 0 || st.Dev != u.dev || u.seen[st.Ino] {
		return
	}
	u.seen[st.Ino] = true
	u.usage.Bytes += st.Blocks * blockSize
	u.usage.Files++
}
