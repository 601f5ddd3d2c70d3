package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Config is what a Handler needs. All of it is required but AdminGroup, AdminRole and Now. Each interface is declared
// in the file that uses it.
type Config struct {
	Store Store
	Views Views

	Pushes    Pushes
	Transfers Transfers
	Rollouts  Rollouts
	BuildLogs BuildLogs

	Commands  Commands
	Usage     Usage
	Requests  Requests
	Images    Images
	Logs      Logs
	Events    Events
	Inspector Inspector
	Compare   Comparer
	Passes    Passes
	Links     Links
	Volumes   Volumes
	Passwords Passwords
	Callers   Callers
	Provided  Provided
	Audit     Audit

	Certificates Certificates
	Delegations  Delegations
	Webhooks     Webhooks
	Cluster      Cluster
	Services     Services
	Backups      Backups
	VolumeWorks  VolumeWorks
	Routers      Routers
	CloudKey     CloudKey

	Status   Status
	Profiles Profiles
	Metrics  Metrics
	Disk     Disk
	// Down begins to take the node off its machine, and returns at once.
	Down func()

	Domain cloud.Domain
	// URLs returns the addresses that open a host, the one that needs no set-up first.
	URLs func(cloud.Host) []string
	// Ports are the ports that the node passes connections of. nil: none.
	Ports Ports
	// PublicURLs returns the addresses that open a public host. Without it they are those of URLs.
	PublicURLs func(cloud.Host) []string
	Version    api.Version
	// AdminGroup is the system's group whose members may do everything that root may: "micro" by default.
	AdminGroup string
	// AdminRole is what members of AdminGroup may do in the whole cloud: admin by default.
	AdminRole cloud.Role
	Log       *slog.Logger
	Now       func() time.Time
}

// Store is the durable truth.
type Store interface {
	State() *cloud.State
	// Update applies what fn returns and writes an audit line in the same transaction. fn is pure and may
	// run again; no changes and no error means that nothing was left to change. It returns the State after.
	Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
	// Record writes an audit line of something that changes no state.
	Record(ctx context.Context, by cloud.Actor, verb, object, result string) error
	// Refused notes in the audit log, some time after, that a request was not allowed.
	Refused(by cloud.Actor, verb, object string)
}

// Views are the State together with the instances that were observed.
type Views interface {
	// AtLeast returns the latest view, once its State has reached the revision or ctx has ended.
	AtLeast(ctx context.Context, rev cloud.Revision) cloud.View
}

func (c Config) validate() error {
	var errs []error
	fields := reflect.ValueOf(c)
	for i := range fields.NumField() {
		switch name := fields.Type().Field(i).Name; {
		case name == "AdminGroup", name == "AdminRole", name == "Now", name == "Version", name == "PublicURLs", name == "Ports":
		case fields.Field(i).IsZero():
			errs = append(errs, fmt.Errorf("the API's %s is not configured", name))
		}
	}
	return errors.Join(errs...)
}

// Handler answers the API's requests.
type Handler struct {
	Config
	mux *http.ServeMux
	api huma.API

	used   map[string]bool // operations that are served; the policy must have exactly these
	faults []error         // of registering them

	refusals refusals

	stopping chan struct{} // closed when streams are to end
	streams  sync.WaitGroup
}

// New returns a handler. It fails where an operation has no entry in the policy, or the policy has an entry
// that no operation has.
func New(c Config) (*Handler, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.AdminGroup = cmp.Or(c.AdminGroup, "micro")
	c.AdminRole = cmp.Or(c.AdminRole, cloud.RoleAdmin)
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &Handler{Config: c, mux: http.NewServeMux(), used: map[string]bool{}, stopping: make(chan struct{})}
	h.api = humago.New(h.mux, description(c.Version.Version))
	h.serveNode()
	h.serveCluster()
	h.serveApps()
	h.serveVerbs()
	h.serveInstances()
	h.serveRoutes()
	h.serveLimits()
	h.serveExplain()
	h.serveCertificates()
	h.serveWebhooks()
	h.serveDomains()
	h.serveFades()
	h.servePasses()
	h.serveLinks()
	h.serveStreams()
	h.servePushes()
	h.serveCommands()
	h.serveImages()
	h.serveShipments()
	h.serveAccess()
	h.serveTokens()
	h.serveOIDC()
	h.serveEgress()
	h.serveAudit()
	h.serveReviews()
	h.serveTimeline()
	h.serveServices()
	h.serveBackups()
	h.serveVolumes()
	h.serveSchedules()
	h.servePlaces()
	h.serveBrokers()
	h.serveKey()
	h.serveBindings()
	h.serveHostHolds()
	h.serveServiceKinds()
	h.serveOpenAPI()
	for op := range policy {
		if !h.used[op] {
			h.faults = append(h.faults, fmt.Errorf("the policy has an unknown operation %q", op))
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

// Run serves the listeners until ctx ends, then ends streams, lets other requests end, and returns. It
// closes the listeners.
func (h *Handler) Run(ctx context.Context, listeners ...net.Listener) error {
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
	// A stream ends only when it is told to.
	close(h.stopping)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if serr := srv.Shutdown(stop); serr != nil {
		h.Log.Warn("requests were cut off when the API stopped", "err", serr)
		err = errors.Join(err, srv.Close())
	}
	h.streams.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// viewTimeout is how long to wait for a view that has everything that was written; an older one is good
// enough then.
const viewTimeout = 2 * time.Second

// view returns a view that has everything that was written before: who has written reads its own writes.
func (h *Handler) view(ctx context.Context) cloud.View {
	ctx, cancel := context.WithTimeout(ctx, viewTimeout)
	defer cancel()
	return h.Views.AtLeast(ctx, h.Store.State().Rev())
}
