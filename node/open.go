package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
	"github.com/protoduction/micro/node/accesslog"
	"github.com/protoduction/micro/node/addresses"
	"github.com/protoduction/micro/node/datadir"
	"github.com/protoduction/micro/node/disk"
	"github.com/protoduction/micro/node/events"
	"github.com/protoduction/micro/node/figures"
	"github.com/protoduction/micro/node/imagecopies"
	"github.com/protoduction/micro/node/ports"
	"github.com/protoduction/micro/router"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/build"
	"github.com/protoduction/micro/runtime/containers"
	"github.com/protoduction/micro/runtime/engine"
	"github.com/protoduction/micro/runtime/images"
	"github.com/protoduction/micro/runtime/logs"
	"github.com/protoduction/micro/runtime/network"
	"github.com/protoduction/micro/runtime/remote"
	"github.com/protoduction/micro/store"
	"github.com/protoduction/micro/store/boltkv"
	"github.com/protoduction/micro/store/kv"
	"github.com/protoduction/micro/volumes"
)

func (n *Node) openData(context.Context) (err error) {
	if n.data, err = datadir.Open(n.cfg.Data); err != nil {
		return err
	}
	n.onRelease(n.data.Close)
	// Use the path without symbolic links, because the names of all resources are derived from it.
	n.cfg.Data = n.data.String()
	if n.reserve, err = disk.NewReserve(n.cfg.Data, n.log); err != nil {
		return err
	}
	if n.chosen, err = n.data.Choices(); err != nil {
		return err
	}
	if len(n.cfg.DNS) == 0 {
		n.cfg.DNS = n.chosen.DNS
	}
	return nil
}

// openAddresses binds the router's addresses: the configured ones, or those of the last start, or the first free
// one.
func (n *Node) openAddresses(context.Context) (err error) {
	n.addresses, err = addresses.Bind(addresses.Config{
		HTTP: n.cfg.HTTP, Default: n.chosen.HTTP, Public: n.cfg.Public,
		HTTPS: n.cfg.HTTPS, DefaultHTTPS: n.chosen.HTTPS, PublicHTTPS: n.cfg.PublicHTTPS, HTTP3: n.cfg.HTTP3, Sockets: n.sockets,
	})
	if err != nil {
		return err
	}
	n.onRelease(n.addresses.Close)
	if taken := n.addresses.SecureTaken; taken != nil {
		n.log.Warn("internal hosts are not answered by TLS", "err", taken)
	}
	if len(n.cfg.DNS) == 0 {
		n.cfg.DNS, err = addresses.PickDNS(n.sockets.Has)
	}
	return err
}

func (n *Node) openStore(ctx context.Context) (err error) {
	if n.db, err = boltkv.Open(boltkv.Config{Dir: n.data.Path("store"), LockTimeout: 2 * time.Second, Log: n.log}); err != nil {
		return err
	}
	n.onRelease(func() { n.db.Close() })
	n.events = events.New(n.started)
	if loss, lost := n.db.Loss(); lost && !loss.At.Before(n.started) {
		n.events.Add(api.Event{Time: loss.At, Kind: "store.damaged", Text: fmt.Sprintf("one of the store's two heads was damaged: the change after revision %d may be lost", loss.Rev)})
	}
	n.kv = kv.NewSwitch(n.db)
	if err := n.openMember(ctx); err != nil {
		return err
	}
	n.store, err = store.Open(ctx, store.Config{Engine: n.kv, Keys: n.openKeys, Log: n.log, Node: n.cfg.Name, Version: n.cfg.Version.Version, AuditLines: n.cfg.Limits.AuditLines, OnState: n.snapshots.SetState, Before: n.awaitObserved, Observed: n.observed, Now: n.now})
	if err != nil {
		return err
	}
	if m := n.member.Load(); m != nil && n.cfg.Recover {
		if err := n.forgetOthers(ctx, m, cloud.Actor{Name: "micro", Source: "up --recover"}); err != nil {
			return err
		}
	}
	if err := n.setUp(ctx); err != nil {
		return err
	}
	if err := n.registerNode(ctx); err != nil {
		return err
	}
	if err := n.moveToExternal(ctx); err != nil {
		return err
	}
	n.logs, err = logs.New(logs.Config{Dir: n.data.Path("logs"), Limit: n.cfg.Limits.Logs, Log: n.log, Now: time.Now})
	return err
}

// openNetworkOnly prepares the containers' network without the listeners in it.
func (n *Node) openNetworkOnly() (err error) {
	state := engine.StateDir(n.cfg.Data)
	_, err = os.Stat(state)
	n.fresh = errors.Is(err, os.ErrNotExist)
	if err := engine.PrepareState(state); err != nil {
		return err
	}
	key, port, err := n.openOverlay()
	if err != nil {
		return err
	}
	n.net, err = network.Open(network.Config{
		Name: n.cfg.Data, Subnet: n.slice(), State: state + "/net", Leaving: n.leaving(), Key: key, Port: port, Logger: n.log,
	})
	return err
}

func (n *Node) openNetwork(ctx context.Context) error {
	if err := n.openNetworkOnly(); err != nil {
		return err
	}
	// Containers that run are not to find an open way out before the State has been compared with the network.
	if err := n.net.SetEgress(policies(n.store.State())); err != nil {
		return err
	}
	if err := n.recordNetwork(ctx); err != nil {
		return err
	}
	err := n.addresses.BindGateway(n.net.Subnet(), n.net.Gateway())
	if taken := n.addresses.GatewayTaken; taken != nil {
		n.log.Warn("apps can't reach each other through the router", "err", taken)
	}
	if taken := n.addresses.SecureGatewayTaken; taken != nil {
		n.log.Warn("apps can't reach each other by TLS", "err", taken)
	}
	return err
}

// openNames creates the parts that find apps by name: the DNS server and the router.
func (n *Node) openNames(context.Context) error {
	zone, err := dnsd.NewZone(string(n.cfg.Domain), n.net.Subnet())
	if err != nil {
		return err
	}
	names := n.cfg.Names
	n.forward, err = dnsd.NewForwarder(dnsd.ForwardConfig{
		Upstreams: names.Upstreams, ResolvConf: names.ResolvConf, Log: n.log,
		AllowDomains: names.PrivateDomains, AllowNetworks: names.PrivateNetworks, HostNetworks: dnsd.HostNetworks,
		Forbidden: n.subnets,
	})
	if err != nil {
		return err
	}
	listen := append(slices.Clone(n.cfg.DNS), netip.AddrPortFrom(n.net.Gateway(), 53))
	n.dns, err = dnsd.New(dnsd.Config{
		Listen: listen, Networks: n.addresses.Networks(), Zone: zone, Forward: n.forward, Rate: names.Rate, Challenges: challenges{n},
		Groups: tenants{n.net, n.snapshots}, Egress: wayOut{n.net, n.log}, Recorder: &n.queries, Log: n.log, Sockets: n.sockets,
	})
	if err != nil {
		return addresses.DNSInUse(err, listen, n.net.Gateway())
	}
	if err := n.openPublicDNS(zone, listen); err != nil {
		return err
	}
	n.counted = router.NewFigures(router.DefaultWarmup)
	n.totals = figures.NewTotals(figures.TotalsConfig{Node: n.cfg.Name, Counted: n.counted, Started: n.started, Peers: peerFigures{n}, Now: n.now})
	n.router = router.New(router.Config{
		Logger: n.log, Recorder: router.Recorders{n.counted, accesslog.Recorder{Logs: n.logs}}, Waits: n.counted, Mirrors: n.counted,
		Local: n.addresses.IsLocal, PassKey: n.secret, Challenges: n.challenges, TrustedProxies: n.cfg.Proxies.Trusted, ProxyProtocol: n.cfg.Proxies.Protocol,
		Limits: router.Connections{Descriptors: routerDescriptors(), GroupOf: tenants{n.net, n.snapshots}.GroupOf},
	})
	n.ports = ports.New(ports.Config{
		Wanted: func() map[uint16]bool { return n.router.Table().Ports() }, Open: n.addresses.ListenPort, Log: n.log,
		Serve: func(ctx context.Context, ln addresses.PortListener, port uint16) error {
			return n.router.Serve(ctx, ln, router.Listener{Internal: ln.Internal, Scheme: "tcp", Port: port})
		},
	})
	n.portalAt = newInside()
	n.onRelease(func() { n.portalAt.Close() })
	n.compiler = &router.Compiler{Node: n.cfg.Name, Seed: binary.NativeEndian.Uint64(n.secret), Secret: n.secret, Portal: n.portalAt.Dial}
	if err := n.openCertificates(); err != nil {
		return err
	}
	n.chosen = datadir.Choices{
		Name: n.cfg.Name, HTTP: n.addresses.Internal[:1], HTTPS: n.addresses.People(), DNS: n.cfg.DNS, Subnet: n.net.Subnet(), OverlayPort: n.cfg.Overlay.Port, Domain: n.cfg.Domain,
	}
	return n.data.SaveChoices(n.chosen)
}

// openDriver starts containerd and finds running containers.
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

// openRuntime creates the parts that run instances.
func (n *Node) openRuntime(ctx context.Context) (err error) {
	state := engine.StateDir(n.cfg.Data)
	if err := n.openDriver(ctx, state); err != nil {
		return err
	}
	if n.images, err = images.Open(ctx, images.Config{
		Engine: n.engine, Logger: n.log, Remote: remote.Config{
			CertsDir: n.cfg.Registries.Certs, DockerConfig: n.cfg.Registries.Credentials, CheckOutside: network.CheckOutside,
		},
		Limits: images.Limits{Unpacked: n.cfg.Limits.ImageSize, Free: n.cfg.Limits.DiskFree},
	}); err != nil {
		return err
	}
	n.copies = imagecopies.New(imagecopies.Config{
		Node: n.cfg.Name, Views: n.snapshots, Store: n.images, Client: n.imageClientOf, Adopt: n.adoptImageNames, Log: n.log, Now: n.now,
	})
	n.volumes = volumes.Folders{Dir: n.data.Path("volumes")}
	n.agent = runtime.NewAgent(runtime.Config{
		Node: n.cfg.Name, Domain: n.cfg.Domain, Cores: cores(), Driver: n.driver, Images: n.copies, Views: n.snapshots,
		Router: drainer{n}, Logs: n.logs, Memory: crashes{n.db.Local()}, Volume: n.volumes.Folder,
		Leased: n.member.Load() != nil, Log: n.log, Now: n.now, Suffix: newSuffix,
	})
	return n.openBuilder(state)
}

func (n *Node) openBuilder(state string) (err error) {
	limits := n.cfg.Build
	n.builder, err = build.New(build.Config{
		Root: n.data.Path("build"), State: state + "/b", Cgroup: "/micro/build-" + filepath.Base(state),
		Containerd: n.engine.Socket, Namespace: n.engine.Namespace(), Snapshotter: engine.Snapshotter, Snapshots: n.engine.Snapshots(),
		ImageName: images.Name, Images: n.images, Runc: n.shims.Runc(), Sandbox: n.sandbox,
		Resolvers: []netip.Addr{n.net.Gateway()}, CertsDir: n.cfg.Registries.Certs, DockerConfig: n.cfg.Registries.Credentials, Logger: n.log,
		LendReserve: n.reserve.Lend,
		Limits: build.Limits{
			Time: limits.Time, Memory: limits.Memory, CPU: limits.CPU, Pids: limits.Pids, Cache: limits.Cache, Free: n.cfg.Limits.DiskFree,
		},
	})
	return err
}

// sandbox makes the network namespace for a step of a build.
func (n *Node) sandbox(ctx context.Context, id string) (netns, userns string, remove func() error, err error) {
	s, err := n.net.NewSandbox(ctx, id)
	if err != nil {
		return "", "", nil, err
	}
	return s.NetNS, s.UserNS, s.Close, nil
}
