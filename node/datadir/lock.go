package datadir

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/node/proc"
)

// takeLock locks the folder. If that fails, the error names the process that has the lock.
func (d *Dir) takeLock() error {
	f, err := os.OpenFile(d.Path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot write to the data folder: %w", err).WithHint("choose another with --data")
	}
	for range 40 { // 2 s
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || proc.Alive(readPID(f)) {
			break
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // a killed process may not have released everything yet
	}
	if err != nil {
		defer f.Close()
		return cloud.Errorf(cloud.Conflict, "a node already runs on %s: %s", d.path, proc.Name(readPID(f))).
			WithHint("stop it with micro down, or choose another --data, --name and other ports for a second node")
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return cloud.Errorf(cloud.Unavailable, "cannot write to the data folder: %w", err)
	}
	d.lock = f
	return nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(f *os.File) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0
	}
	return pid
}
