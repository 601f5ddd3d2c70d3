package runtime

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// Container is everything that a driver needs to start an instance: all is decided, nothing is looked up.
type Container struct {
	ID     string            // instance ID, at most 63 of [a-z0-9.-]; never used twice
	Labels map[string]string // kept with the container; how a restarted node knows its own
	Image  string            // digest of an image in the store, "sha256:…"
	Shim   string            // instances with the same value share one shim process: an app's release

	Args    []string // replaces the image's entrypoint and command; empty keeps them
	Command string   // a command line for a shell, as manifests have it; exclusive with Args
	Env     []string // K=V, after (and over) the image's own
	// AddressEnv is the environment that depends on the address, which Start chooses; nil for none.
	AddressEnv func(netip.Addr) []string
	User       string // "" is the image's
	Dir        string // "" is the image's
	NoInit     bool   // its program is process 1 itself, else one that reaps orphans and forwards signals
	Hostname   string
	Search     []string // search domains of its resolv.conf

	Tenant uint32  // the group's number: its range of 65,536 ids and its side of the network's walls
	Memory int64   // limit in bytes, more than 0
	CPU    int64   // limit in thousandths of a core, more than 0
	Pids   int64   // more than 0
	Disk   Usage   // limit on its own files, volumes left out; the driver keeps it where the file system can
	Mounts []Mount // volumes
	Log    string  // file that standard output and error are appended to
	// Attach gives it the streams and the terminal of a command in place of Log; of its fields the
	// others are not used. Its streams have ended when Wait returns.
	Attach *Command
}

// Mount is a volume of the node's, at Source, seen by the container at Target.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Usage is what files take on a disk. As a limit, 0 is none.
type Usage struct{ Bytes, Files int64 }

// Running is a container as the driver finds it. Exit is nil while it runs.
type Running struct {
	ID      string
	Labels  map[string]string
	IP      netip.Addr
	PID     uint32 // on the host
	Started time.Time
	Exit    *Exit
}

// Exit is how a container ended.
type Exit struct {
	Code   int // as a shell reports it: 128+N for signal N
	OOM    bool
	At     time.Time
	Lost   bool   // it went with its shim or its machine: how, nobody knows
	Reason string // what the runtime said, where it never came to run
}

// Stats is what a container uses now; CPU counts from its start.
type Stats struct {
	CPU                 time.Duration
	Memory, MemoryLimit int64 // bytes; Memory is the working set, page cache that can be dropped left out
	Pids                int64 // processes and threads, ended ones that nobody waited for included: what the limit counts
	Processes           int64 // that run, without micro's init
	Zombies             int64 // ended processes that nobody waited for
	OOMKills            int64
}

// Listener is an address that something in the container listens on, over TCP.
type Listener = netip.AddrPort

// Command is a process to run in a container that runs already.
type Command struct {
	Args          []string
	Env           []string
	User, Dir     string // "" is the container's own
	TTY           bool
	Rows, Columns uint16

	Stdin          io.Reader // nil: none
	Stdout, Stderr io.Writer // with TTY all goes to Stdout
	Resize         <-chan Size
}

// Size is a terminal's, in characters.
type Size struct{ Rows, Columns uint16 }

// Driver runs containers on this node. Its methods may be called at the same time, for one container
// one at a time (Wait, Exec, Stats and Listening apart). An error is a *cloud.Error where the cause is
// the caller's to mend.
type Driver interface {
	// Start makes and starts a container. After an error nothing of it is left.
	Start(ctx context.Context, c Container) (Running, error)
	// Wait returns when the container has ended; at once where it has already, also while micro was down.
	Wait(ctx context.Context, id string) (Exit, error)
	// Stop asks the container's first process to end, by the signal that its image names (STOPSIGNAL), else
	// by SIGTERM. It does not wait.
	Stop(ctx context.Context, id string) error
	// Remove ends what still runs (SIGKILL) and takes away all that Start made. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// List has every container of this node, ended ones too, and finishes what an interrupted Start or
	// Remove left: what it does not list has no trace on the host.
	List(ctx context.Context) ([]Running, error)
	// Exec runs a process inside and returns its exit code.
	Exec(ctx context.Context, id string, c Command) (int, error)
	Stats(ctx context.Context, id string) (Stats, error)
	// Written is what the container's own files take, volumes left out, with those that are unlinked and still
	// open. It may look at all of them.
	Written(ctx context.Context, id string) (Usage, error)
	// LimitDisk changes the limit on the container's own files. It reports false where the file system does not
	// keep limits, so that the caller has to look at what is Written.
	LimitDisk(ctx context.Context, id string, limit Usage) (kept bool, err error)
	// DiskUsed is what is in use of the file system that containers' own files are on.
	DiskUsed(ctx context.Context) (Usage, error)
	Listening(ctx context.Context, id string) ([]Listener, error)
}
