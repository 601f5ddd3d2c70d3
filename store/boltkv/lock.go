package boltkv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// acquireLock locks the folder, and waits up to timeout. The lock has a file of its own, because bbolt
// releases its lock whenever we reopen the store's file. The kernel releases it when the process ends.
func acquireLock(dir string, timeout time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "lock the store: %w", err)
	}
	deadline := time.Now().Add(timeout)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(cloud.Errorf(cloud.Unavailable, "lock %s: %w", f.Name(), err), f.Close())
		}
		if time.Now().After(deadline) {
			defer f.Close()
			return nil, cloud.Errorf(cloud.Conflict, "the store %s is in use%s", dir, lockHolder(f))
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // flock has no wait with a limit
	}
	// The process ID is only for error messages; the flock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// lockHolder describes the process whose ID is in the lock file; "" if there is none.
func lockHolder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return " by process " + pid
	}
	return ""
}
