package shim

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open files: many runtimes and servers take the soft limit as it is, and 1024 is soon used up by
// connections; some old programs close all files up to the soft limit when they start, so it is not
// a million either. Who knows better raises it up to the hard limit, or as far as micro's own allows.
const (
	softFiles = 65536
	hardFiles = 1 << 20
)

// limitResources sets the shim's resource limits to those of its containers, which inherit them. runc could set
// them for a container only with CAP_SYS_RESOURCE in the container's user namespace, and not every root has that.
func limitResources() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read the limit on open files: %w", err)
	}
	files.Max = min(hardFiles, files.Max)
	files.Cur = min(softFiles, files.Max)
	// By package syscall: it stops Go from giving children the limit that the shim was started with.
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	// The host's core_pattern is none of an app's business.
	if err := syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("limit core files: %w", err)
	}
	return nil
}
