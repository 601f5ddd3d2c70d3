package build

import (
	"context"
	"fmt"
	goruntime "runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// Limits bound what builds may use. A zero field is its default.
type Limits struct {
	Time   time.Duration // of one build; 30 min
	Memory int64         // bytes, of all steps that run at a time; half of the machine's
	Pids   int64         // of all steps; 4,096
	CPU    int64         // thousandths of a core, of all steps; all cores
	Free   int64         // bytes of disk that a build must leave free; 1 GiB, or a twentieth of a smaller disk
	Cache  int64         // bytes that the build cache may grow to; 10 GiB, or a fifth of a smaller disk
}

const (
	processMemory = 2 << 30 // bytes, of BuildKit itself
	processPids   = 2048
)

func (l Limits) withDefaults(root string) Limits {
	disk := int64(1) << 50
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err == nil {
		disk = int64(fs.Blocks) * fs.Bsize
	} else if err := unix.Statfs("/", &fs); err == nil {
		disk = int64(fs.Blocks) * fs.Bsize
	}
	var mem unix.Sysinfo_t
	if l.Memory == 0 && unix.Sysinfo(&mem) == nil {
		l.Memory = int64(mem.Totalram) * int64(mem.Unit) / 2
	}
	if l.Time == 0 {
		l.Time = 30 * time.Minute
	}
	if l.Pids == 0 {
		l.Pids = 4096
	}
	if l.CPU == 0 {
		l.CPU = int64(goruntime.NumCPU()) * 1000
	}
	if l.Free == 0 {
		l.Free = min(1<<30, disk/20)
	}
	if l.Cache == 0 {
		l.Cache = min(10<<30, disk/5)
	}
	return l
}

// guardEvery is how often the disk is looked at: fast disks take some gigabytes a second.
const guardEvery = 250 * time.Millisecond

// guard returns a context that ends, with a cause to be shown, when a build has taken too long or has
// eaten the disk down to what the node itself needs to live.
func (l Limits) guard(ctx context.Context, dir string) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(ctx, l.Time,
		cloud.Errorf(cloud.DeployFailed, "build: not done after %v", l.Time).WithHint("split the build, or use a base image that has more of it done"))
	ctx, fail := context.WithCancelCause(ctx)
	if err := l.checkDisk(dir); err != nil {
		fail(err)
	}
	go func() {
		tick := time.NewTicker(guardEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := l.checkDisk(dir); err != nil {
					fail(err)
				}
			}
		}
	}()
	return ctx, func() { fail(nil); stop() }
}

func (l Limits) checkDisk(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("build: look at the disk: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < l.Free {
		return cloud.Errorf(cloud.Unavailable, "build: the disk of %s is full: %d MiB are free and %d MiB must stay so",
			dir, free>>20, l.Free>>20).WithHint("micro prune")
	}
	return nil
}
