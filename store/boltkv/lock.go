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

// acquire takes the folder's lock within timeout. It is a file of its own because bbolt lets go of its
// lock whenever the store's file is opened anew. The kernel frees it when the process ends, however.
func acquire(dir string, timeout time.Duration) (*os.File, error) {
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
			return nil, cloud.Errorf(cloud.Conflict, "the store %s is in use%s", dir, holder(f))
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // flock has no wait with a limit
	}
	// For people alone; it is the lock that counts.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// holder says which process left its number in the lock, if it did.
func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid := strings.TrimSpace(string(b[:n])); pid != "" {
		return " by process " + pid
	}
	return ""
}
