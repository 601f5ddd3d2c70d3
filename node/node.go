package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/protoduction/micro/access/portal"
	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/backup"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/node/datadir"
	"github.com/protoduction/micro/node/disk"
	"github.com/protoduction/micro/node/events"
	"github.com/protoduction/micro/node/figures"
	"github.com/protoduction/micro/node/imagecopies"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/node/memory"
	"github.com/protoduction/micro/node/metrics"
	"github.com/protoduction/micro/node/ports"
	"github.com/protoduction/micro/node/systemd"
	"github.com/protoduction/micro/node/vault"
	"github.com/protoduction/micro/node/webhook"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/router/certs"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/containers"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/logs"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/services"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/seal"
	"github.com/protoduction/micro/volumes"
)

// Config is the configuration of a node, and what its process provides.
type Config struct {
	config.Node
	Version api.Version
	Log     *slog.Logger
}

// Node is one node of a cloud.
type Node struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	status  *status

	data      *datadir.Dir
	chosen    datadir.Choices // choices of the last start; openNames replaces them with those of this start
	sockets   *systemd.Sockets
	addresses *addresses.Bound
	ports     *ports.Ports
	membership
	storage
	machine
	front
	programs

	downOnce sync.Once
	down     chan struct{} // closed by Down
	undo     []func()

	// program is the path that the node's program was started from, and successor has the one that is to take its place.
	program   string
	successor chan api.Version
}

// storage has the parts that store data.
type storage struct {
	db      *boltkv.DB
	store   *store.Store
	logs    *logs.Logs
	events  *events.Buffer
	reserve *disk.Reserve
	poster  *webhook.Poster

	keys   *seal.Keys // to the cloud's secrets
	secret []byte     // the cloud's routing secret

	snapshots *cloud.Cell // the latest view
	published *cloud.Cell // the latest view that the router and the DNS server use
}

// machine has the parts that run containers.
type machine struct {
	fresh   bool // no earlier process of the node has left anything on the host
	net     *network.Network
	waysOut map[string]network.Policy // that net goes by, as publish set them last
	overlay cloud.Overlay             // by which other nodes reach this one's instances
	engine  *engine.Engine
	shims   *engine.Shims
	driver  *containers.Driver
	images  *images.Store
	copies  *imagecopies.Copies // the same, with what other nodes have
	builder *build.Builder
	volumes volumes.Folders
	agent   *runtime.Agent
}

// front has the parts that answer requests and DNS queries.
type front struct {
	router   *router.Router
	compiler *router.Compiler
	counted  *router.Figures
	totals   *figures.Totals
	dns      *dnsd.Server
	// publicDNS answers the world about public domains; nil where nobody asked for that.
	publicDNS *dnsd.Server
	forward   *dnsd.Forwarder
	queries   metrics.Queries
	certificates
}

// certificates are what requests by TLS are answered with.
type certificates struct {
	vault  *vault.Vault
	local  *certs.Local  // of internal names
	public *certs.Public // ordered for public hosts
	files  *certs.Files  // got by somebody else
	ledger certs.Ledger
	acme   *certs.ACME // nil where nothing is ordered
	tls    *certs.Server
}

// programs has the programs that use the other parts.
type programs struct {
	duties   []leader.Duty
	janitor  *janitor.Janitor
	figures  *figures.Figures
	deployer *deploy.Deployer
	services *services.Provider
	archives *backup.Keeper
	// volumeWorks backs volumes up, restores and moves them.
	volumeWorks *volumes.Provider
	api         *handler.Handler
	portal      *portal.Portal
	portalAt    *inside      // where the router reaches it
	socket      net.Listener // the API's
	// remote are the API's listeners for other machines.
	remote      []net.Listener
	remoteURLs  []string
	fingerprint string // of the authority that they show
}

// New acquires the resources of a node and creates its parts. After an error it holds nothing, and leaves nothing
// on the host.
func New(ctx context.Context, cfg Config) (*Node, error) {
	n := newNode(cfg)
	n.sockets = systemd.Open(cfg.Log)
	for _, step := range []func(context.Context) error{
		n.openData, n.openAddresses, n.openStore, n.openNetwork, n.openNames, n.openRuntime, n.openServices,
	} {
		if err := step(ctx); err != nil {
			return nil, n.giveUp(n.explainFullDisk(err))
		}
	}
	n.sockets.CloseUnused()
	return n, nil
}

// explainFullDisk gives the next start the reserve where this one failed because the disk is full. A start
// needs no free byte where the node has run before, but what it works with may be another version's.
func (n *Node) explainFullDisk(err error) error {
	if n.reserve == nil || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	n.reserve.Release()
	return cloud.Errorf(cloud.Unavailable, "the disk is full: %w", err).WithHint("start micro again, which has some room now, and free more: micro df, micro prune")
}

func newNode(cfg Config) *Node {
	return &Node{
		cfg: cfg, log: cfg.Log, started: time.Now(), down: make(chan struct{}), program: programPath(), successor: make(chan api.Version, 1),
		storage:    storage{snapshots: cloud.NewCell(), published: cloud.NewCell()},
		membership: membership{entered: make(chan struct{}), removed: make(chan struct{}), followed: make(chan struct{}), answering: newAnswering()},
	}
}

// giveUp restores the host to its state before New, and returns the cause. Apps of an earlier process, and what
// they need, stay.
func (n *Node) giveUp(cause error) error {
	n.undoJoin()
	n.release()
	if !n.fresh {
		return cause
	}
	var err error
	if n.net != nil {
		err = n.net.Destroy()
	}
	if err = errors.Join(err, engine.RemoveState(engine.StateDir(n.cfg.Data))); err != nil {
		n.log.Warn("cannot remove everything from the host", "err", err)
	}
	return cause
}

// release releases all resources in reverse order.
func (n *Node) release() {
	for _, undo := range slices.Backward(n.undo) {
		undo()
	}
	n.undo = nil
}

func (n *Node) onRelease(f func()) { n.undo = append(n.undo, f) }

// Run starts the parts and blocks until ctx ends or Down is called. It calls ready once, when requests are answered
// and routed to instances that already ran.
func (n *Node) Run(ctx context.Context, ready func()) error {
	defer n.release()
	p := newParts(n.log)
	defer p.stop()
	p.start(ctx, "logs", 5*time.Second, n.logs.Run)
	p.start(ctx, "store", 5*time.Second, n.store.Run)
	adopted := make(chan struct{})
	p.start(ctx, "cluster", 10*time.Second, func(ctx context.Context) error { return n.runMember(ctx, adopted) })
	p.start(ctx, "network", 2*time.Second, n.driver.Run)
	p.start(ctx, "overlay", 2*time.Second, func(ctx context.Context) error { return n.net.Follow(ctx, n.cfg.Name, n.snapshots) })
	p.start(ctx, "other nodes", time.Second, func(ctx context.Context) error { return n.net.Watch(ctx, n.setReachable) })
	p.start(ctx, "builder", 10*time.Second, n.builder.Run)
	p.start(ctx, "agent", 10*time.Second, func(ctx context.Context) error { return n.agent.Run(ctx, func() { close(adopted) }) })
	n.status.setWaiting("finding running instances")
	select {
	case <-adopted:
	case err := <-p.failed:
		return err
	case <-ctx.Done():
		return nil
	}
	n.awaitOthers(ctx)
	n.awaitOverlay(ctx)
	if err := n.checkTunnel(ctx); err != nil {
		n.undoJoin()
		n.Down()
		p.stop()
		return errors.Join(err, n.leave())
	}
	// Answer requests only when the first table and zone have all adopted instances.
	view := n.snapshots.View()
	n.router.Swap(n.compiler.Compile(nil, view))
	n.swapZone(dnsd.Compile(n.dns.Zone(), cloud.View{}, view))
	n.published.Show(view)
	p.start(ctx, "dns", 2*time.Second, n.dns.Run)
	if n.publicDNS != nil {
		p.start(ctx, "public dns", 2*time.Second, n.publicDNS.Run)
	}
	p.start(ctx, "routes and names", time.Second, n.publish)
	p.start(ctx, "events", time.Second, func(ctx context.Context) error { return n.events.Follow(ctx, n.snapshots) })
	p.start(ctx, "images", 5*time.Second, n.copies.Run)
	p.start(ctx, "image names", 5*time.Second, n.copies.RunNames)
	p.start(ctx, "leader", 10*time.Second, n.lead)
	p.start(ctx, "janitor", 5*time.Second, n.janitor.Run)
	p.start(ctx, "watchdog", time.Second, func(ctx context.Context) error { return systemd.Watchdog(ctx, n.log) })
	p.start(ctx, "memory", time.Second, memory.ReturnUnused)
	p.start(ctx, "disk", time.Second, n.reserve.Run)
	p.start(ctx, "figures", time.Second, n.figures.Run)
	for _, ln := range n.addresses.HTTP {
		p.start(ctx, "router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Internal: true, HTTPS: n.addresses.SecurePort(ln, false)})
		})
	}
	for _, ln := range n.addresses.Public {
		p.start(ctx, "public router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Inside: n.addresses.InternalAddrs(ln), HTTPS: n.addresses.SecurePort(ln, true)})
		})
	}
	for _, ln := range n.addresses.HTTPS {
		p.start(ctx, "TLS router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Internal: true, Scheme: "https", Handshake: n.tls.Handshake, HTTP3: n.addresses.HTTP3Port(ln)})
		})
	}
	for _, ln := range n.addresses.PublicHTTPS {
		p.start(ctx, "public TLS router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Scheme: "https", Handshake: n.tls.Handshake, Inside: n.addresses.InternalAddrs(ln), HTTP3: n.addresses.HTTP3Port(ln)})
		})
	}
	for _, d := range n.addresses.HTTP3 {
		p.start(ctx, "HTTP/3 router on "+d.LocalAddr().String(), 35*time.Second, func(ctx context.Context) error {
			l := router.Listener{Internal: !d.Public, Scheme: "https", HTTP3: n.addresses.HTTP3Port(d.TCP)}
			if d.Public {
				l.Inside = n.addresses.InternalAddrs(d.TCP)
			}
			return n.router.ServeHTTP3(ctx, d.UDPConn, router.QUIC{TLS: n.tls.QUIC, Secret: n.secret}, l)
		})
	}
	p.start(ctx, "routed ports", 35*time.Second, n.ports.Run)
	p.start(ctx, "log-in page", 5*time.Second, n.servePortal)
	p.start(ctx, "certificates", 2*time.Second, n.tls.Run)
	p.start(ctx, "unfinished services", time.Second, n.clearServices)
	p.start(ctx, "unfinished works on volumes", time.Second, n.volumeWorks.Run)
	p.start(ctx, "deployer", 10*time.Second, n.deployer.Run)
	p.start(ctx, "api", 10*time.Second, func(ctx context.Context) error {
		return n.api.Run(ctx, append([]net.Listener{n.socket}, n.remote...)...)
	})
	n.status.setWaiting("")
	systemd.Notify(n.log, "READY=1\nSTATUS="+n.status.line())
	n.endTurn(ctx)
	ready()
	var err error
	select {
	case err = <-p.failed:
		systemd.Notify(n.log, "STOPPING=1")
	case <-n.down:
		systemd.Notify(n.log, "STOPPING=1")
	case <-ctx.Done():
		systemd.Notify(n.log, "STOPPING=1")
	case next := <-n.successor:
		systemd.Notify(n.log, systemd.Reloading())
		n.resign(ctx)
		err = errSucceeded{next.Version}
	}
	n.status.setWaiting("stopping")
	n.shutdownRouter()
	n.handOver()
	p.stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, n.leave())
}

// shutdownRouter waits until the requests in flight have ended.
func (n *Node) shutdownRouter() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.router.Shutdown(ctx); err != nil {
		n.log.Warn("requests were aborted", "err", err)
	}
}

// leave removes the node from this machine if Down was called: it ends the apps and removes everything that micro
// made on the host, except the data.
func (n *Node) leave() error {
	if !n.leaving() {
		return nil
	}
	ctx := context.Background()
	list, err := n.driver.List(ctx)
	remove := func(fenced bool) {
		for _, r := range list {
			if runtime.IsFenced(r.Labels) == fenced {
				err = errors.Join(err, n.driver.Remove(ctx, r.ID))
			}
		}
	}
	remove(true) // as soon as this node has left, the others start what must not run twice
	if err == nil {
		n.leaveOthers(ctx)
	}
	remove(false)
	n.release() // the parts that use the folders removed below
	select {
	case <-n.removed:
		err = errors.Join(err, n.folder.Remove())
	default:
	}
	return errors.Join(err, n.driver.Destroy(ctx), removeIfThere(n.data.Path("micro.sock")), engine.RemoveState(engine.StateDir(n.cfg.Data)))
}

// leaving reports whether Down was called.
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

// Down makes Run remove the node from this machine: apps end, and everything that micro made on the host is
// removed. The data stays, so that the next start runs the same apps.
func (n *Node) Down() {
	n.downOnce.Do(func() { close(n.down) })
}
