package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/node/accesslog"
	"github.com/protoduction/micro/node/datadir"
	"github.com/protoduction/micro/node/events"
	"github.com/protoduction/micro/node/volumes"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/containers"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/logs"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/boltkv"
)

func (n *Node) openData(context.Context) (err error) {
	if n.data, err = datadir.Open(n.cfg.Data); err != nil {
		return err
	}
	// One folder is one node, whatever way leads to it: the names of all that it makes come from its path.
	n.cfg.Data = n.data.String()
	n.onRelease(n.data.Close)
	return nil
}

// openListeners binds the router's addresses: those asked for, else those of last time, else the first
// that is free.
func (n *Node) openListeners(context.Context) error {
	chosen, err := n.data.Choices()
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
		ln, err := n.listenTCP("public-http", a)
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
		return n.pickDNS()
	}
	return nil
}

// pickDNS decides where the DNS server is to be, where nobody did.
func (n *Node) pickDNS() error {
	candidates := dnsd.DefaultAddrs()
	if i := slices.IndexFunc(candidates, n.sockets.Has); i >= 0 {
		n.cfg.DNS = candidates[i : i+1]
		return nil
	}
	a, err := dnsd.PickAddr(candidates...)
	if err != nil {
		return dnsTaken(err, candidates, netip.Addr{})
	}
	n.cfg.DNS = []netip.AddrPort{a}
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
	ln, err := n.listenTCP("http", a)
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
	if n.db, err = boltkv.Open(boltkv.Config{Dir: n.data.Path("store"), LockTimeout: 2 * time.Second, Log: n.log}); err != nil {
		return err
	}
	n.onRelease(func() { n.db.Close() })
	n.events = events.New(n.started)
	n.store, err = store.Open(ctx, store.Config{Engine: n.db, Log: n.log, Version: n.cfg.Version.Version, Show: n.snapshots.SetState})
	if err != nil {
		return err
	}
	_, err = n.store.Update(ctx, cloud.Actor{Name: "micro"}, "init", "cloud", func(s *cloud.State) ([]cloud.Change, error) {
		return s.Init(cloud.Stamp{At: time.Now().UTC(), By: "micro"}), nil
	})
	if err != nil {
		return err
	}
	n.logs, err = logs.New(logs.Config{Dir: n.data.Path("logs"), Log: n.log, Now: time.Now})
	return err
}

// openNetworkAlone prepares the containers' network, and nothing that listens in it.
func (n *Node) openNetworkAlone() (err error) {
	state := engine.StateDir(n.cfg.Data)
	_, err = os.Stat(state)
	n.fresh = errors.Is(err, os.ErrNotExist)
	if err := engine.PrepareState(state); err != nil {
		return err
	}
	n.net, err = network.Open(network.Config{
		Name: n.cfg.Data, Subnet: n.cfg.Subnet, State: state + "/net", Leaving: n.leaving(), Logger: n.log,
	})
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
	zone, err := dnsd.NewZone(string(n.cfg.Domain), n.net.Subnet())
	if err != nil {
		return err
	}
	names := n.cfg.Names
	forward, err := dnsd.NewForwarder(dnsd.ForwardConfig{
		Upstreams: names.Upstreams, ResolvConf: names.ResolvConf, Log: n.log,
		AllowDomains: names.PrivateDomains, AllowNetworks: names.PrivateNetworks, HostNetworks: dnsd.HostNetworks,
		Forbidden: []netip.Prefix{n.net.Subnet()},
	})
	if err != nil {
		return err
	}
	n.dns, err = dnsd.New(dnsd.Config{
		Listen:   append(slices.Clone(n.cfg.DNS), netip.AddrPortFrom(n.net.Gateway(), 53)),
		Networks: n.networks(), Zone: zone, Forward: forward, Rate: names.Rate, Groups: n, Recorder: &n.queries, Log: n.log, Sockets: n.sockets,
	})
	if err != nil {
		return dnsTaken(err, append(slices.Clone(n.cfg.DNS), netip.AddrPortFrom(n.net.Gateway(), 53)), n.net.Gateway())
	}
	n.figures = router.NewFigures(router.DefaultWarmup)
	n.router = router.New(router.Config{Logger: n.log, Recorder: router.Recorders{n.figures, accesslog.Recorder{Logs: n.logs}}, Mirrors: n.figures, Local: n.isLocal, PassKey: n.secret})
	n.compiler = &router.Compiler{Domain: n.cfg.Domain, Seed: binary.NativeEndian.Uint64(n.secret)}
	return n.data.Remember(datadir.Choices{
		Name: n.cfg.Name, HTTP: n.internal[:1], DNS: n.cfg.DNS, Subnet: n.net.Subnet(), Domain: n.cfg.Domain, Secret: n.secret,
	})
}

// openDriver starts containerd and finds the containers that run.
func (n *Node) openDriver(ctx context.Context, state string) (err error) {
	cfg := engine.Config{Root: n.data.Path("containerd"), State: state, Logger: n.log}
	if err := containers.KeepExits(cfg); err != nil {
		return err
	}
	if n.engine, err = engine.Open(ctx, cfg); err != nil {
		return err
	}
	n.onRelease(func() { n.engine.Close(context.Background()) })
	if n.shims, err = n.engine.Shims(ctx, n.cfg.Data); err != nil {
		return err
	}
	n.driver, err = containers.Open(ctx, containers.Config{Engine: n.engine, Shims: n.shims, Network: n.net, Logger: n.log})
	return err
}

// openRuntime prepares all that instances need.
func (n *Node) openRuntime(ctx context.Context) (err error) {
	state := engine.StateDir(n.cfg.Data)
	if err := n.openDriver(ctx, state); err != nil {
		return err
	}
	if n.images, err = images.Open(ctx, images.Config{Engine: n.engine, Logger: n.log}); err != nil {
		return err
	}
	n.volumes = volumes.Volumes{Dir: n.data.Path("volumes")}
	n.agent = runtime.NewAgent(runtime.Config{
		Node: n.cfg.Name, Domain: n.cfg.Domain, Cores: cores(), Driver: n.driver, Images: n.images, Views: n.snapshots,
		Router: drainer{n.router}, Logs: n.logs, Memory: crashes{n.db.Local()}, Volume: n.volumes.Folder,
		Log: n.log, Now: now, Suffix: suffix,
	})
	return n.openBuilder(state)
}

func (n *Node) openBuilder(state string) (err error) {
	n.builder, err = build.New(build.Config{
		Root: n.data.Path("build"), State: state + "/b", Cgroup: "/micro/build-" + filepath.Base(state),
		Containerd: n.engine.Socket, Namespace: n.engine.Namespace(), Snapshotter: engine.Snapshotter, Snapshots: n.engine.Snapshots(),
		ImageName: images.Name, Images: n.images, Runc: n.shims.Runc(), Sandbox: n.sandbox,
		Resolvers: []netip.Addr{n.net.Gateway()}, Logger: n.log,
	})
	return err
}

// sandbox is the network of a build's step.
func (n *Node) sandbox(ctx context.Context, id string) (netns, userns string, remove func() error, err error) {
	s, err := n.net.NewSandbox(ctx, id)
	if err != nil {
		return "", "", nil, err
	}
	return s.NetNS, s.UserNS, s.Close, nil
}
