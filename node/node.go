package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/node/datadir"
	"github.com/protoduction/micro/node/events"
	"github.com/protoduction/micro/node/figures"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/node/memory"
	"github.com/protoduction/micro/node/metrics"
	"github.com/protoduction/micro/node/systemd"
	"github.com/protoduction/micro/node/volumes"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/router/certs"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/containers"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/logs"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/seal"
)

// Config is how a node is set up, and what it is given by its process.
type Config struct {
	config.Node
	Version api.Version
	Log     *slog.Logger
}

// Node is a running micro.
type Node struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	status  *status

	data      *datadir.Dir
	chosen    datadir.Choices // what the node chose when it last ran, and what it keeps to from now on
	sockets   *systemd.Sockets
	addresses *addresses.Bound
	storage
	machine
	front
	services

	downOnce sync.Once
	down     chan struct{} // closed when the node is to take itself off this machine
	undo     []func()
}

// storage is what lasts.
type storage struct {
	db     *boltkv.DB
	store  *store.Store
	logs   *logs.Logs
	events *events.Buffer

	keys   *seal.Keys // to the cloud's secrets
	secret []byte     // the cloud's routing secret

	snapshots *cloud.Cell // the latest view
	published *cloud.Cell // the latest view that the router and the DNS server go by
}

// machine is what runs containers.
type machine struct {
	fresh   bool // nothing of the node was on the host before
	net     *network.Network
	engine  *engine.Engine
	shims   *engine.Shims
	driver  *containers.Driver
	images  *images.Store
	builder *build.Builder
	volumes volumes.Volumes
	agent   *runtime.Agent
}

// front is what requests and queries meet.
type front struct {
	router   *router.Router
	compiler *router.Compiler
	counted  *router.Figures
	dns      *dnsd.Server
	queries  metrics.Queries
	local    *certs.Local
	tls      *certs.Server
}

// services are the programs that stand on all of this.
type services struct {
	duties   []leader.Duty
	janitor  *janitor.Janitor
	figures  *figures.Figures
	deployer *deploy.Deployer
	api      *handler.Handler
	socket   net.Listener // the API's
}

// New takes what the node needs to itself. After an error nothing is held and nothing of it is left on
// the host.
func New(ctx context.Context, cfg Config) (*Node, error) {
	n := newNode(cfg)
	n.sockets = systemd.Open(cfg.Log)
	for _, step := range []func(context.Context) error{
		n.openData, n.openAddresses, n.openStore, n.openNetwork, n.openNames, n.openRuntime, n.openServices,
	} {
		if err := step(ctx); err != nil {
			return nil, n.giveUp(err)
		}
	}
	n.sockets.CloseUnused()
	return n, nil
}

func newNode(cfg Config) *Node {
	return &Node{
		cfg: cfg, log: cfg.Log, started: time.Now(), down: make(chan struct{}),
		storage: storage{snapshots: cloud.NewCell(), published: cloud.NewCell()},
	}
}

// giveUp leaves the host as it was before New. Where apps of an earlier process run they stay, and so
// does what they need.
func (n *Node) giveUp(cause error) error {
	n.release()
	if !n.fresh {
		return cause
	}
	var err error
	if n.net != nil {
		err = n.net.Destroy()
	}
	if err = errors.Join(err, engine.RemoveState(engine.StateDir(n.cfg.Data))); err != nil {
		n.log.Warn("something is left on the host", "err", err)
	}
	return cause
}

// release gives back what was taken, the last first.
func (n *Node) release() {
	for _, undo := range slices.Backward(n.undo) {
		undo()
	}
	n.undo = nil
}

func (n *Node) onRelease(f func()) { n.undo = append(n.undo, f) }

// Run starts the parts and blocks until ctx ends or the node is told to go. ready is called once, when
// requests are answered; instances that ran before are routed to by then.
func (n *Node) Run(ctx context.Context, ready func()) error {
	defer n.release()
	p := newParts(n.log)
	defer p.stop()
	p.start(ctx, "logs", 5*time.Second, n.logs.Run)
	p.start(ctx, "store", 5*time.Second, n.store.Run)
	p.start(ctx, "network", 2*time.Second, n.driver.Run)
	p.start(ctx, "builder", 10*time.Second, n.builder.Run)
	adopted := make(chan struct{})
	p.start(ctx, "agent", 10*time.Second, func(ctx context.Context) error { return n.agent.Run(ctx, func() { close(adopted) }) })
	n.status.wait("instances that ran before")
	select {
	case <-adopted:
	case err := <-p.failed:
		return err
	case <-ctx.Done():
		return nil
	}
	// The first table and zone have everything that was adopted: only then is anything answered.
	view := n.snapshots.View()
	n.router.Swap(n.compiler.Compile(nil, view))
	n.dns.Swap(dnsd.Compile(n.dns.Zone(), cloud.View{}, view))
	n.published.Show(view)
	p.start(ctx, "dns", 2*time.Second, n.dns.Run)
	p.start(ctx, "routes and names", time.Second, n.publish)
	p.start(ctx, "events", time.Second, func(ctx context.Context) error { return n.events.Follow(ctx, n.snapshots) })
	p.start(ctx, "leader", 10*time.Second, func(ctx context.Context) error { return leader.Lead(ctx, n.duties...) })
	p.start(ctx, "janitor", 5*time.Second, n.janitor.Run)
	p.start(ctx, "watchdog", time.Second, func(ctx context.Context) error { return systemd.Watchdog(ctx, n.log) })
	p.start(ctx, "memory", time.Second, memory.ReturnUnused)
	p.start(ctx, "figures", time.Second, n.figures.Run)
	for _, ln := range n.addresses.HTTP {
		p.start(ctx, "router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Internal: true})
		})
	}
	for _, ln := range n.addresses.Public {
		p.start(ctx, "public router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Inside: n.addresses.Inside(ln)})
		})
	}
	for _, ln := range n.addresses.HTTPS {
		p.start(ctx, "TLS router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Internal: true, Scheme: "https", Handshake: n.tls.Handshake})
		})
	}
	for _, ln := range n.addresses.PublicHTTPS {
		p.start(ctx, "public TLS router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Scheme: "https", Handshake: n.tls.Handshake, Inside: n.addresses.Inside(ln)})
		})
	}
	p.start(ctx, "certificates", 2*time.Second, n.tls.Run)
	p.start(ctx, "deployer", 10*time.Second, n.deployer.Run)
	p.start(ctx, "api", 10*time.Second, func(ctx context.Context) error { return n.api.Run(ctx, n.socket) })
	n.status.wait("")
	systemd.Notify(n.log, "READY=1\nSTATUS="+n.status.line())
	ready()
	var err error
	select {
	case err = <-p.failed:
	case <-n.down:
	case <-ctx.Done():
	}
	systemd.Notify(n.log, "STOPPING=1")
	n.status.wait("its end: the node stops")
	n.shutRouter()
	p.stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, n.leave())
}

// shutRouter lets the requests in flight end.
func (n *Node) shutRouter() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.router.Shutdown(ctx); err != nil {
		n.log.Warn("requests were cut off", "err", err)
	}
}

// leave takes the node off this machine, where it was told to: the apps end, and nothing that micro made
// on the host stays. The data stays.
func (n *Node) leave() error {
	if !n.leaving() {
		return nil
	}
	ctx := context.Background()
	list, err := n.driver.List(ctx)
	for _, r := range list {
		err = errors.Join(err, n.driver.Remove(ctx, r.ID))
	}
	n.release() // what holds on to the folders below
	return errors.Join(err, n.driver.Destroy(ctx), removeIfThere(n.data.Path("micro.sock")), engine.RemoveState(engine.StateDir(n.cfg.Data)))
}

// leaving says whether the node was told to take itself off this machine.
func (n *Node) leaving() bool {
	select {
	case <-n.down:
		return true
	default:
		return false
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Down makes the node take itself off this machine: apps end, and what micro made on the host goes. The
// data stays, and the next start runs what ran.
func (n *Node) Down() {
	n.downOnce.Do(func() { close(n.down) })
}
