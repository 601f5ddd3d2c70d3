package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// faultKind is a way in which machines fail.
type faultKind struct {
	name string
	// most is how long it lasts at most, unless it is to last until others have the machine's instances.
	most time.Duration
	// away says that the machine is dead for the others if it lasts.
	away   bool
	inject func(*machine) error
	heal   func(context.Context, *machine) error
}

var faultKinds = []faultKind{
	{
		name: "kill -9", most: 8 * time.Second, away: true,
		inject: func(m *machine) error { return m.signal(syscall.SIGKILL) },
		heal:   func(ctx context.Context, m *machine) error { return m.up(ctx) },
	},
	{
		name: "power off", most: 8 * time.Second, away: true,
		inject: (*machine).cutPower,
		heal: func(ctx context.Context, m *machine) error {
			if err := m.restorePower(); err != nil {
				return err
			}
			return m.up(ctx)
		},
	},
	{
		name: "cable", most: 12 * time.Second, away: true,
		inject: func(m *machine) error { return m.pull(true) },
		heal:   func(_ context.Context, m *machine) error { return m.pull(false) },
	},
	{
		name: "partition", most: 12 * time.Second, away: true,
		inject: func(m *machine) error { return m.join("br1") },
		heal:   func(_ context.Context, m *machine) error { return m.join("br0") },
	},
	{
		name: "stop", most: 12 * time.Second, away: true,
		inject: func(m *machine) error { return m.signal(syscall.SIGSTOP) },
		heal:   func(_ context.Context, m *machine) error { return m.signal(syscall.SIGCONT) },
	},
	{
		name: "disk full", most: 6 * time.Second,
		inject: func(m *machine) error {
			f, err := os.Create(filepath.Join(m.data(), "logs", "full"))
			if err != nil {
				return err
			}
			defer f.Close()
			var disk unix.Statfs_t
			if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil {
				return err
			}
			err = unix.Fallocate(int(f.Fd()), 0, 0, int64(disk.Bavail)*disk.Bsize)
			for size := int64(16 << 20); err == nil || errors.Is(err, unix.ENOSPC); size /= 2 { // the rest, in ever smaller pieces
				if size < 4096 {
					return nil
				}
				end, serr := f.Seek(0, 2)
				if serr != nil {
					return serr
				}
				err = unix.Fallocate(int(f.Fd()), 0, end, size)
			}
			return err
		},
		heal: func(_ context.Context, m *machine) error { return os.Remove(filepath.Join(m.data(), "logs", "full")) },
	},
	{
		name: "slow disk", most: 6 * time.Second,
		inject: func(m *machine) error { return m.slowDown() },
		heal:   func(_ context.Context, m *machine) error { return m.speedUp() },
	},
	{
		name: "clock", most: 6 * time.Second,
		inject: func(m *machine) error { return m.setClock(time.Duration(m.n%2*2-1) * 48 * time.Hour) },
		heal:   func(_ context.Context, m *machine) error { return m.setClock(0) },
	},
}

// slowDown makes the machine's disk take writes only for 20 ms of each 300.
func (m *machine) slowDown() error {
	m.slow, m.fast = make(chan struct{}), make(chan error, 1)
	slow := m.slow
	go func() {
		for {
			if err := m.ioctlDisk(freezeDisk, 0); err != nil {
				m.fast <- err
				return
			}
			ended := false
			select {
			case <-slow:
				ended = true
			case <-time.After(280 * time.Millisecond):
			}
			err := m.ioctlDisk(thawDisk, 0)
			if ended || err != nil {
				m.fast <- err
				return
			}
			time.Sleep(20 * time.Millisecond) // the fault itself
		}
	}()
	return nil
}

func (m *machine) speedUp() error {
	close(m.slow)
	return <-m.fast
}
