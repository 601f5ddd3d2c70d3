package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// Config is what a Handler needs. All of it is required but AdminGroup and Now.
type Config struct {
	Store   Store
	Runner  Runner
	Images  Images
	Builder runtime.Builder
	Logs    Logs
	Events  Events
	Node    Node
	// Unpack writes an uploaded folder, a tar stream, below dir, which is there and empty. It refuses what
	// does not belong there, within limits of its own.
	Unpack func(r io.Reader, dir string) error
	// Dir is a folder for uploads, the files of the last ones and the output of builds. What an earlier
	// process left of uploads is removed.
	Dir     string
	Version api.Version
	// AdminGroup is the group of the system's whose members may do all that root may: "micro" by default.
	AdminGroup string
	Log        *slog.Logger
	Now        func() time.Time
}

func (c Config) validate() error {
	var errs []error
	for what, missing := range map[string]bool{
		"store": c.Store == nil, "runner": c.Runner == nil, "images": c.Images == nil, "builder": c.Builder == nil, "logs": c.Logs == nil,
		"events": c.Events == nil, "node": c.Node == nil, "unpack": c.Unpack == nil, "dir": c.Dir == "", "log": c.Log == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("the API has no %s", what))
		}
	}
	return errors.Join(errs...)
}

// Handler answers the API's requests.
type Handler struct {
	Config
	mux    *http.ServeMux
	api    huma.API
	pushes *pushes
	domain func() cloud.Domain // the node's; it never changes
	builds buildLogs
	source *sources

	used   map[string]bool // operations that are served, to hold against the policy
	faults []error         // of registering them

	refusals refusals

	stopping chan struct{} // closed when streams are to end
	streams  sync.WaitGroup
}

// New returns a handler; Run must be called for it to serve pushes. It fails where an operation has no
// entry in the policy, or the policy one that no operation has.
func New(c Config) (*Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.AdminGroup = cmp.Or(c.AdminGroup, "micro")
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{Config: c, mux: http.NewServeMux(), used: map[string]bool{}, stopping: make(chan struct{})}
	h.domain = sync.OnceValue(func() cloud.Domain { return h.Node.Info().Domain })
	var err error
	if h.builds, err = newBuildLogs(c.Dir); err != nil {
		return nil, err
	}
	if h.source, err = newSources(c.Dir); err != nil {
		return nil, err
	}
	if h.pushes, err = newPushes(h); err != nil {
		return nil, err
	}
	h.api = humago.New(h.mux, description(c.Version.Version))
	h.serveNode()
	h.serveApps()
	h.serveVerbs()
	h.serveInstances()
	h.serveRoutes()
	h.serveExplain()
	h.serveFades()
	h.servePasses()
	h.serveStreams()
	h.servePushes()
	h.serveCommands()
	h.serveImages()
	h.serveOpenAPI()
	for op := range policy {
		if !h.used[op] {
			h.faults = append(h.faults, fmt.Errorf("the policy has an operation %q that is none", op))
		}
	}
	return h, errors.Join(h.faults...)
}

// Limits of a connection.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10
	// stopTimeout is how long requests under way may take to end when the node stops.
	stopTimeout = 10 * time.Second
)

// Run serves the listeners until ctx ends, then lets requests under way end, ends streams and pushes, and
// returns. It closes the listeners.
func (h *Handler) Run(ctx context.Context, listeners ...net.Listener) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	h.pushes.begin(life)
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       ConnContext,
		ErrorLog:          slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- srv.Serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	// Streams first: nobody else ends them. Pushes last: they tell their streams how they ended.
	close(h.stopping)
	end()
	h.pushes.running.Wait()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if serr := srv.Shutdown(stop); serr != nil {
		h.Log.Warn("requests were still under way when the API had to end", "err", serr)
		err = errors.Join(err, srv.Close())
	}
	h.streams.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
