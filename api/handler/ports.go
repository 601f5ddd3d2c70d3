package handler

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Store is the durable truth.
type Store interface {
	State() *cloud.State
	// Update applies what fn returns and writes an audit line in the same transaction. fn is pure and may
	// run again; no changes and no error is a change that was there already. It returns the State after.
	Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
}

// Runner runs a State's releases.
type Runner interface {
	// View is what is desired and what was observed now.
	View() cloud.View
	// Changed returns as soon as the view is another than old, in state or instances.
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
	// Exec runs a command in an instance and returns its exit code. It ends the command with ctx.
	Exec(ctx context.Context, id cloud.InstanceID, c runtime.Command) (int, error)
	// Run runs a command in a container of its own, made like those of the release, and removes it.
	Run(ctx context.Context, o OneOff) (int, error)
	Stats(ctx context.Context, id cloud.InstanceID) (runtime.Stats, error)
}

// OneOff is a command in a container of its own.
type OneOff struct {
	Release cloud.ReleaseRef // never N 0
	Process cloud.ProcessName
	Memory  int64 // bytes; 0: as the process has it
	By      cloud.Actor
	Command runtime.Command
}

// Images is the node's store of images.
type Images interface {
	Pull(ctx context.Context, ref string, progress func(runtime.Progress)) (runtime.Image, error)
	// Import reads an archive of exactly one image, to run it.
	Import(ctx context.Context, archive io.Reader, progress func(runtime.Progress)) (runtime.Image, error)
	// Load reads an archive and keeps its image under the names it has there, for FROM lines to find.
	Load(ctx context.Context, archive io.Reader, progress func(runtime.Progress)) (runtime.Image, error)
	// List has every image once for each of its names.
	List(ctx context.Context) ([]runtime.Image, error)
}

// Logs are the apps' lines.
type Logs interface {
	// Read yields lines, oldest first, across instances; with Follow until ctx ends. A line's Cursor goes
	// on behind it. It ends with an error at most once.
	Read(ctx context.Context, q api.LogQuery) iter.Seq2[api.LogLine, error]
}

// Events are what happened in the cloud.
type Events interface {
	Read(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error]
}

// Requests are what an instance got.
type Requests struct {
	Total    uint64 // since it joined the routing table
	InFlight int64  // of them, and of upgraded connections, that have not ended
}

// Node is this node.
type Node interface {
	// Info is cheap: it is asked for with every request that needs a ready node.
	Info() api.Node
	// URLs are what opens the host: the one that needs no set-up first.
	URLs(h cloud.Host) []string
	Doctor(ctx context.Context) []api.Check
	// Figures are the requests of each release that got any, by app and release.
	Figures() []api.ReleaseFigures
	// Requests are those of each instance that the router knows.
	Requests() map[cloud.InstanceID]Requests
	// Look says what the parts of the node see of a request that is not sent.
	Look(ctx context.Context, v Visit) Sight
	// Metrics writes what is counted in Prometheus' text format, version 0.0.4.
	Metrics(w io.Writer) error
	Disk(ctx context.Context) (api.Disk, error)
	Prune(ctx context.Context) (api.Pruned, error)
	// DropVolumes removes all volumes of an app that is no more.
	DropVolumes(app cloud.AppRef) error
	// Compare is what the releases of a route did at the same time.
	Compare(ctx context.Context, h cloud.Host, path string) (api.Comparison, error)
	// Pass is what lets a client of the public choose a release of a host until a time.
	Pass(h cloud.Host, r cloud.ReleaseRef, until time.Time) string
	// Down begins to take the node off its machine, and returns at once.
	Down()
}
