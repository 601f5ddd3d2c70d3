package runtime

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"
)

// Container has everything that a driver needs to start an instance.
type Container struct {
	ID     string            // instance ID, at most 63 of [a-z0-9.-]; never used twice
	Labels map[string]string // stored with the container, so that a restarted node recognises it
	Image  string            // digest of an image in the store, "sha256:…"
	Shim   string            // instances with the same value share one shim process: an app's release

	Args    []string // replaces the image's entrypoint and command; empty keeps them
	Command string   // a command line for a shell, as manifests have it; exclusive with Args
	Env     []string // K=V, after (and over) the image's own
	// Secrets are K=V after (and over) Env. Only the container's processes know them: they are on no disk.
	Secrets []string
	// BindingFiles are the contents of files below cloud.BindingRoot, by their paths in it. They are secrets like Secrets.
	BindingFiles map[string]string
	// Service is the name of the service that the container runs, "" for none. Only containers of the same Tenant that have
	// the name in Reaches can open connections to it.
	Service string
	Reaches []string
	// Fenced ends the container when its node may have lost its lease, whether micro runs or not.
	Fenced bool
	// Await, if it is set, is called when the container is made: Start starts its program after Await has returned nil.
	Await func(context.Context) error
	// AddressEnv returns the variables that depend on the address, which Start chooses; nil for none.
	AddressEnv func(netip.Addr) []string
	User       string // "" is the image's user
	Dir        string // "" is the image's folder
	NoInit     bool   // the program itself is process 1; otherwise micro's init, which reaps orphans and forwards signals
	Hostname   string
	Search     []string // search domains of its resolv.conf

	Tenant uint32  // the group's number, which determines its range of 65,536 user IDs and its network access
	Memory int64   // limit in bytes, more than 0
	CPU    int64   // limit in thousandths of a core, more than 0
	Pids   int64   // more than 0
	Disk   Usage   // limit on its own files without volumes; enforced only if the file system supports it
	Mounts []Mount // volumes
	Log    string  // file to which standard output and error are appended
	// Attach connects the container to the streams and the terminal of a command, instead of Log. Its other
	// fields are not used. Its streams have ended when Wait returns.
	Attach *Command
}

// ErrNoLease is in the error of a start of a fenced container that was refused because the node's lease has ended.
var ErrNoLease = errors.New("this node has lost its lease, so that another one may run the instance")

// Mount mounts a folder of the node, Source, at Target in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Usage is the disk usage of files. As a limit, 0 means unlimited.
type Usage struct{ Bytes, Files int64 }

// Running is an existing container. Exit is nil while it runs.
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
	Lost   bool   // its shim or machine ended, so its own exit code is unknown
	Reason string // the runtime's message, if the container could not run
}

// Stats is a container's current resource usage; CPU counts from its start.
type Stats struct {
	CPU                 time.Duration
	Memory, MemoryLimit int64 // bytes; Memory is the working set, without page cache that can be dropped
	Pids                int64 // processes and threads including zombies, as the limit counts them
	Processes           int64 // running processes, without micro's init
	Zombies             int64 // ended processes that were not reaped
	OOMKills            int64
	ErrorLines          uint64 // log lines of level error since micro's start; the driver does not know them
}

// Listener is a TCP address that a process in the container listens on.
type Listener = netip.AddrPort

// Command is a process to run in a running container.
type Command struct {
	Args          []string
	Env           []string
	User, Dir     string // "" means the container's
	TTY           bool
	Rows, Columns uint16

	Stdin          io.Reader // nil for none
	Stdout, Stderr io.Writer // with TTY, all output goes to Stdout
	Resize         <-chan Size
}

// Size is a terminal's, in characters.
type Size struct{ Rows, Columns uint16 }

// Driver runs containers on this node. Its methods may be called concurrently, but for one container only one at a
// time, except Wait, Exec, Stats and Listening. It returns a *cloud.Error if the caller can correct the cause.
type Driver interface {
	// Start makes and starts a container. After an error nothing of it is left.
	Start(ctx context.Context, c Container) (Running, error)
	// Wait returns when the container has ended, also if it ended while micro was down.
	Wait(ctx context.Context, id string) (Exit, error)
	// Stop sends the image's STOPSIGNAL, or SIGTERM, to the container's first process. It does not wait.
	Stop(ctx context.Context, id string) error
	// Remove kills the container if it still runs, and removes everything that Start made. It is not an error if
	// the container does not exist.
	Remove(ctx context.Context, id string) error
	// Pause stops all processes of the container, and Resume lets them run on. An error of code NotFound or Unavailable says
	// that the container has ended.
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
	// List returns all containers of this node, also ended ones. It removes the remains of an interrupted Start
	// or Remove, so that the host has no trace of other containers.
	List(ctx context.Context) ([]Running, error)
	// Exec runs a process inside and returns its exit code.
	Exec(ctx context.Context, id string, c Command) (int, error)
	Stats(ctx context.Context, id string) (Stats, error)
	// Written returns the disk usage of the container's own files without volumes, including open files that are
	// unlinked. It may have to read all folders.
	Written(ctx context.Context, id string) (Usage, error)
	// LimitDisk changes the limit on the container's own files. kept is false if the file system can't enforce
	// it; then the caller must check Written.
	LimitDisk(ctx context.Context, id string, limit Usage) (kept bool, err error)
	// DiskUsed returns the usage of the file system that has the containers' own files.
	DiskUsed(ctx context.Context) (Usage, error)
	Listening(ctx context.Context, id string) ([]Listener, error)
}
