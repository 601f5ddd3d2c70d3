package build

import (
	"context"
	goruntime "runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/disk"
)

// Limits limit the resources of builds. A field of 0 has its default.
type Limits struct {
	Time   time.Duration // of one build; 30 min
	Memory int64         // bytes, of all running steps; half of the machine's memory
	Pids   int64         // of all steps; 4,096
	CPU    int64         // thousandths of a core, of all steps; all cores
	Free   int64         // bytes of disk that stay free; 1 GiB, or 5 % of a smaller disk
	Cache  int64         // largest size of the build cache in bytes; 10 GiB, or 20 % of a smaller disk
}

const (
	processMemory = 2 << 30 // bytes, of BuildKit itself
	processPids   = 2048
)

func (l Limits) withDefaults(root string) (Limits, error) {
	size, err := disk.Size(root)
	if err != nil {
		return l, err
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
		l.Free = min(1<<30, size/20)
	}
	if l.Cache == 0 {
		l.Cache = min(10<<30, size/5)
	}
	return l, nil
}

// guard returns a context that is cancelled if a build takes too long, or leaves less free disk space than the node needs.
// The context's cause is an error for users.
func (l Limits) guard(ctx context.Context, dir string) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(ctx, l.Time,
		cloud.Errorf(cloud.DeployFailed, "build: not finished after %v", l.Time).WithHint("use a base image that already contains the slow steps, or raise build-time"))
	ctx, cancel := disk.CancelWhenFull(ctx, dir, l.Free)
	return ctx, func() { cancel(); stop() }
}
