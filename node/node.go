package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/config"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/ctrd"
	"github.com/protoduction/micro/runtime/logs"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/boltkv"
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

	data   *data
	db     *boltkv.DB
	store  *store.Store
	logs   *logs.Logs
	events *eventLog

	board     *cloud.Board // what is
	published *cloud.Board // what is, as far as requests and queries find it so

	net        *network.Network
	neighbours []netip.Prefix
	engine     *ctrd.Engine
	driver     *ctrd.Driver
	fresh      bool // nothing of the node was on the host before
	images     *ctrd.Images
	builder    *build.Builder
	agent      *runtime.Agent
	leader     *runtime.Leader

	router       *router.Router
	figures      *router.Figures
	fader        *fader
	queries      queries
	compiler     *router.Compiler
	secret       []byte
	http         []net.Listener   // for internal hosts
	public       []net.Listener   // for public hosts, and on internal addresses for internal ones
	gatewayTaken error            // why containers don't reach the router; nil where they do
	internal     []netip.AddrPort // where internal hosts are answered, the address for people first
	dns          *dnsd.Server
	socket       net.Listener
	api          *handler.Handler

	waiting  atomic.Pointer[string] // for what; nil when ready
	downOnce sync.Once
	down     chan struct{} // closed when the node is to take itself off this machine
	undo     []func()
}

// secretBytes is the size of the node's secret.
const secretBytes = 32

// New takes what the node needs to itself. After an error nothing is held and nothing of it is left on
// the host.
func New(ctx context.Context, cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, log: cfg.Log, started: time.Now(), board: cloud.NewBoard(), published: cloud.NewBoard(), down: make(chan struct{})}
	n.wait("the store")
	for _, step := range []func(context.Context) error{
		n.openData, n.openListeners, n.openStore, n.openNetwork, n.openNames, n.openRuntime, n.openAPI,
	} {
		if err := step(ctx); err != nil {
			return nil, n.giveUp(err)
		}
	}
	return n, nil
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
	if err = errors.Join(err, ctrd.RemoveState(ctrd.StateDir(n.cfg.Data))); err != nil {
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

// wait says what the node waits for; "" is nothing, it is ready.
func (n *Node) wait(what string) {
	if what == "" {
		n.waiting.Store(nil)
		return
	}
	n.waiting.Store(&what)
}

func (n *Node) openData(context.Context) (err error) {
	if n.data, err = openData(n.cfg.Data); err != nil {
		return err
	}
	n.onRelease(n.data.close)
	return nil
}

// openListeners binds the router's addresses: those asked for, else those of last time, else the first
// that is free.
func (n *Node) openListeners(context.Context) error {
	chosen, err := n.data.choices()
	if err != nil {
		return err
	}
	switch {
	case len(n.cfg.HTTP) > 0:
		for _, a := range n.cfg.HTTP {
			if err := n.listenInternal(a); err != nil {
				return err
			}
		}
	default:
		candidates := chosen.HTTP
		if len(candidates) == 0 {
			candidates = defaultHTTP()
		}
		if err := n.listenFirst(candidates); err != nil {
			return err
		}
	}
	for _, a := range n.cfg.Public {
		ln, err := listenTCP("public-http", a)
		if err != nil {
			return err
		}
		n.onRelease(func() { ln.Close() })
		n.public = append(n.public, ln)
	}
	if n.secret = chosen.Secret; len(n.secret) < secretBytes {
		n.secret = make([]byte, secretBytes)
		rand.Read(n.secret) // it never fails
	}
	if n.cfg.Subnet == (netip.Prefix{}) {
		n.cfg.Subnet = chosen.Subnet
	}
	if len(n.cfg.DNS) == 0 {
		n.cfg.DNS = chosen.DNS
	}
	if len(n.cfg.DNS) == 0 {
		a, err := dnsd.PickAddr(dnsd.DefaultAddrs()...)
		if err != nil {
			return dnsTaken(err, dnsd.DefaultAddrs(), netip.Addr{})
		}
		n.cfg.DNS = []netip.AddrPort{a}
	}
	return nil
}

// listenFirst binds the first of the addresses that is free, and fails with what is wrong with the last.
func (n *Node) listenFirst(candidates []netip.AddrPort) (err error) {
	for _, a := range candidates {
		if err = n.listenInternal(a); err == nil || cloud.CodeOf(err) != cloud.Conflict {
			return err
		}
	}
	return err
}

// listenInternal binds an address for internal hosts. Where a public listener has every address of the
// port, that one takes the connections, and the address that they came to decides which table they ask.
func (n *Node) listenInternal(a netip.AddrPort) error {
	for _, p := range n.cfg.Public {
		if p.Port() == a.Port() && p.Addr().IsUnspecified() {
			n.internal = append(n.internal, a)
			return nil
		}
	}
	ln, err := listenTCP("http", a)
	if err != nil {
		return err
	}
	n.onRelease(func() { ln.Close() })
	bound, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil {
		return err
	}
	n.http, n.internal = append(n.http, ln), append(n.internal, bound)
	return nil
}

func (n *Node) openStore(ctx context.Context) (err error) {
	if n.db, err = boltkv.Open(boltkv.Config{Dir: n.data.path("store"), LockTimeout: 2 * time.Second, Log: n.log}); err != nil {
		return err
	}
	n.onRelease(func() { n.db.Close() })
	n.events = newEventLog(n.started)
	n.store, err = store.Open(ctx, store.Config{Engine: n.db, Log: n.log, Version: n.cfg.Version.Version, Show: n.board.SetState})
	if err != nil {
		return err
	}
	_, err = n.store.Update(ctx, store.Actor{Name: "micro"}, "init", "cloud", func(s *cloud.State) ([]cloud.Change, error) {
		return s.Init(cloud.Stamp{At: time.Now().UTC(), By: "micro"}), nil
	})
	if err != nil {
		return err
	}
	n.logs, err = logs.New(logs.Config{Dir: n.data.path("logs"), Log: n.log, Now: time.Now})
	return err
}

// openNetworkAlone prepares the containers' network, and nothing that listens in it.
func (n *Node) openNetworkAlone() (err error) {
	state := ctrd.StateDir(n.cfg.Data)
	_, err = os.Stat(state)
	n.fresh = errors.Is(err, os.ErrNotExist)
	if err := ctrd.PrepareState(state); err != nil {
		return err
	}
	n.net, err = network.Open(network.Config{Name: n.cfg.Data, Subnet: n.cfg.Subnet, State: state + "/net", Logger: n.log})
	return err
}

func (n *Node) openNetwork(context.Context) error {
	if err := n.openNetworkAlone(); err != nil {
		return err
	}
	err := n.listenInternal(netip.AddrPortFrom(n.net.Gateway(), 80))
	switch {
	case cloud.CodeOf(err) == cloud.Conflict:
		// Something on this machine has port 80 of every address, as web servers do. Apps reach each other
		// without the router then, by their names in .internal; doctor says so.
		n.gatewayTaken = err
		n.log.Warn("apps can't reach each other through the router", "err", err)
	case err != nil:
		return err
	}
	for _, network := range n.networks() {
		n.neighbours = append(n.neighbours, network.Prefix)
	}
	return nil
}

// openNames prepares the two parts that answer to names: the DNS server and the router.
func (n *Node) openNames(context.Context) error {
	zone, err := dnsd.NewZone(string(n.cfg.Domain))
	if err != nil {
		return err
	}
	forward, err := dnsd.NewForwarder(dnsd.ForwardConfig{Private: []netip.Prefix{n.net.Subnet()}, Log: n.log})
	if err != nil {
		return err
	}
	n.dns, err = dnsd.New(dnsd.Config{
		Listen:   append(slices.Clone(n.cfg.DNS), netip.AddrPortFrom(n.net.Gateway(), 53)),
		Networks: n.networks(), Zone: zone, Forward: forward, Recorder: &n.queries, Log: n.log,
	})
	if err != nil {
		return dnsTaken(err, append(slices.Clone(n.cfg.DNS), netip.AddrPortFrom(n.net.Gateway(), 53)), n.net.Gateway())
	}
	n.figures = router.NewFigures(router.DefaultWarmup)
	n.fader = newFader(n)
	n.router = router.New(router.Config{Logger: n.log, Recorder: router.Recorders{n.figures, access{n.logs}}, Mirrors: n.figures, Local: n.isLocal, PassKey: n.secret})
	n.compiler = &router.Compiler{Domain: n.cfg.Domain, Seed: binary.NativeEndian.Uint64(n.secret)}
	return n.data.remember(choices{
		Name: n.cfg.Name, HTTP: n.internal[:1], DNS: n.cfg.DNS, Subnet: n.net.Subnet(), Domain: n.cfg.Domain, Secret: n.secret,
	})
}

// openDriver starts containerd and finds the containers that run.
func (n *Node) openDriver(ctx context.Context, state string) (err error) {
	n.engine, err = ctrd.Open(ctx, ctrd.Config{Root: n.data.path("containerd"), State: state, Logger: n.log})
	if err != nil {
		return err
	}
	n.onRelease(func() { n.engine.Close(context.Background()) })
	n.driver, err = ctrd.NewDriver(ctx, n.engine, ctrd.DriverConfig{Data: n.cfg.Data, Network: n.net})
	return err
}

// openRuntime prepares all that instances need.
func (n *Node) openRuntime(ctx context.Context) (err error) {
	state := ctrd.StateDir(n.cfg.Data)
	if err := n.openDriver(ctx, state); err != nil {
		return err
	}
	if n.images, err = n.engine.Images(ctx, ctrd.ImagesConfig{}); err != nil {
		return err
	}
	n.agent = runtime.NewAgent(runtime.Config{
		Node: n.cfg.Name, Domain: n.cfg.Domain, Cores: cores(), Driver: n.driver, Images: n.images, Board: n.board,
		Router: drainer{n.router}, Logs: n.logs, Memory: crashes{n.db.Local()}, Volume: n.volume,
		Log: n.log, Now: now, Suffix: suffix,
	})
	n.leader = &runtime.Leader{Views: n.board, Writer: writer{n.store}, Logs: n.logs, Log: n.log, Warm: runtime.DefaultWarm, Now: now}
	return n.openBuilder(state)
}

func (n *Node) openBuilder(state string) (err error) {
	n.builder, err = build.New(build.Config{
		Root: n.data.path("build"), State: state + "/b", Cgroup: "/micro/build-" + filepath.Base(state),
		Containerd: n.engine.Socket, Namespace: n.engine.Namespace(), Snapshotter: ctrd.Snapshotter,
		ImageName: ctrd.ImageName, Images: n.images, Runc: n.driver.Runc(), Sandbox: n.sandbox,
		Resolvers: []netip.Addr{n.net.Gateway()}, Logger: n.log,
	})
	return err
}

// sandbox is the network of a build's step.
func (n *Node) sandbox(ctx context.Context, id string) (netns string, remove func() error, err error) {
	s, err := n.net.NewSandbox(ctx, id)
	if err != nil {
		return "", nil, err
	}
	return s.Path, s.Close, nil
}

// Run starts the parts and blocks until ctx ends or the node is told to go. ready is called once, when
// requests are answered; instances that ran before are routed to by then.
func (n *Node) Run(ctx context.Context, ready func()) error {
	defer n.release()
	p := newParts(n.log)
	defer p.stop()
	p.start(ctx, "logs", 5*time.Second, n.logs.Run)
	p.start(ctx, "store", 5*time.Second, n.store.Run)
	p.start(ctx, "dns", 2*time.Second, n.dns.Run)
	p.start(ctx, "network", 2*time.Second, n.driver.Run)
	p.start(ctx, "builder", 10*time.Second, n.builder.Run)
	adopted := make(chan struct{})
	p.start(ctx, "agent", 10*time.Second, func(ctx context.Context) error { return n.agent.Run(ctx, func() { close(adopted) }) })
	n.wait("instances that ran before")
	select {
	case <-adopted:
	case err := <-p.failed:
		return err
	case <-ctx.Done():
		return nil
	}
	// The first table and zone have everything that was adopted: only then is anything answered.
	view := n.board.View()
	n.router.Swap(n.compiler.Compile(nil, view))
	n.dns.Swap(dnsd.Compile(n.dns.Zone(), cloud.View{}, view))
	n.published.Show(view)
	p.start(ctx, "routes and names", time.Second, n.publish)
	p.start(ctx, "events", time.Second, func(ctx context.Context) error { return n.events.run(ctx, n.board) })
	p.start(ctx, "leader", 5*time.Second, n.leader.Run)
	p.start(ctx, "janitor", 5*time.Second, n.janitor)
	p.start(ctx, "cron", 10*time.Second, newCron(n).Run)
	p.start(ctx, "fader", 5*time.Second, n.fader.run)
	p.start(ctx, "watchdog", time.Second, n.watchdog)
	p.start(ctx, "memory", time.Second, giveBack)
	p.start(ctx, "figures", time.Second, n.forget)
	for _, ln := range n.http {
		p.start(ctx, "router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Internal: true})
		})
	}
	for _, ln := range n.public {
		p.start(ctx, "public router on "+ln.Addr().String(), 35*time.Second, func(ctx context.Context) error {
			return n.router.Serve(ctx, ln, router.Listener{Inside: n.inside(ln)})
		})
	}
	p.start(ctx, "api", 10*time.Second, n.serveAPI)
	n.wait("")
	n.notify("READY=1\nSTATUS=" + n.status())
	ready()
	var err error
	select {
	case err = <-p.failed:
	case <-n.down:
	case <-ctx.Done():
	}
	n.notify("STOPPING=1")
	n.wait("its end: the node stops")
	n.shutRouter()
	p.stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, n.leave())
}

// inside are the addresses of a public listener on which neighbours get the internal table.
func (n *Node) inside(ln net.Listener) (inside []netip.Addr) {
	at, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil || !at.Addr().IsUnspecified() {
		return nil
	}
	for _, a := range n.internal {
		if a.Port() == at.Port() {
			inside = append(inside, a.Addr())
		}
	}
	return inside
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
	select {
	case <-n.down:
	default:
		return nil
	}
	ctx := context.Background()
	list, err := n.driver.List(ctx)
	for _, r := range list {
		err = errors.Join(err, n.driver.Remove(ctx, r.ID))
	}
	n.release() // what holds on to the folders below
	return errors.Join(err, n.driver.Destroy(ctx), removeIfThere(n.data.path("micro.sock")), ctrd.RemoveState(ctrd.StateDir(n.cfg.Data)))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
