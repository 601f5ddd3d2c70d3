package network

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// machine is a machine of a cloud: a network namespace on a common network, and a process in it that runs its Network.
type machine struct {
	t    *testing.T
	name cloud.NodeName
	host place
	out  *json.Encoder
	in   *json.Decoder
	key  string
	port uint16
}

// order is what a test tells a machine to do, and report what it answers. A field that is set is an order.
type order struct {
	View    *world      `json:",omitempty"`
	Attach  string      `json:",omitempty"`
	Sandbox string      `json:",omitempty"`
	Detach  string      `json:",omitempty"`
	Sockets *netip.Addr `json:",omitempty"`
	Group   uint32
	Access  Access
	Repair  bool `json:",omitempty"`
	// Await waits until the nodes that don't answer are these, separated by spaces; "-" if all have answered.
	Await   string `json:",omitempty"`
	Destroy bool   `json:",omitempty"`
}

type report struct {
	Error, Key, NetNS string
	IP                netip.Addr
	Open              int // sockets
}

// world is a view in JSON.
type world struct {
	Nodes     []*cloud.Node
	Groups    []*cloud.Group
	Instances []*cloud.Instance
	Services  []cloud.AppRef
}

const machineEnv = "MICRO_TEST_MACHINE" // set in the process of a machine

// machineConfig is what a machine's process starts with.
type machineConfig struct {
	Name    cloud.NodeName
	Subnet  netip.Prefix
	State   string
	KeyFile string
	Port    uint16
}

var ports int // that were made on LANs

// newLAN makes a network for machines, and returns a function that connects a namespace to it.
func newLAN(t *testing.T, mtu int) (connect func(ns netns.NsHandle, addr netip.Prefix)) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "lan", mtu
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	check(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { check(t, netlink.LinkDel(bridge)) })
	check(t, netlink.LinkSetUp(bridge))
	return func(ns netns.NsHandle, addr netip.Prefix) {
		t.Helper()
		ports++ // the kernel deletes those of earlier tests with a delay
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.MasterIndex = fmt.Sprintf("port%d", ports), mtu, bridge.Index
		check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(ns)}))
		port, err := netlink.LinkByName(attrs.Name)
		check(t, err)
		check(t, netlink.LinkSetUp(port))
		h, err := netlink.NewHandleAt(ns)
		check(t, err)
		defer h.Close()
		for _, name := range []string{"lo", "eth0"} {
			l, err := h.LinkByName(name)
			check(t, err)
			check(t, h.LinkSetUp(l))
			if name == "eth0" {
				check(t, h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(addr)}))
			}
		}
	}
}

// newNamespace makes a network namespace that ends with the test.
func newNamespace(t *testing.T, name string) netns.NsHandle {
	t.Helper()
	ep := &endpoint{Endpoint: Endpoint{NetNS: filepath.Join("/run", t.Name(), name), UserNS: filepath.Join("/run", t.Name(), name+".user")}}
	check(t, os.MkdirAll(filepath.Dir(ep.NetNS), 0o700))
	// Owned by the tests' own user namespace, so that the machine's process may write to /proc/sys/net.
	done := make(chan error)
	go func() {
		lockForever()
		done <- errors.Join(unix.Unshare(unix.CLONE_NEWNET), bind("/proc/thread-self/ns/net", ep.NetNS))
	}()
	check(t, <-done)
	t.Cleanup(func() { check(t, unpin(ep.NetNS)) })
	ns, err := netns.GetFromPath(ep.NetNS)
	check(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

func newMachine(t *testing.T, connect func(netns.NsHandle, netip.Prefix), name cloud.NodeName, addr, subnet string) *machine {
	t.Helper()
	ns := newNamespace(t, "machine-"+string(name))
	p := netip.MustParsePrefix(addr)
	connect(ns, p)
	m := &machine{t: t, name: name, host: place{t, ns, p.Addr()}, port: 51820}
	cfg, err := json.Marshal(machineConfig{
		Name: name, Subnet: netip.MustParsePrefix(subnet), State: filepath.Join("/run", t.Name(), string(name)),
		KeyFile: filepath.Join(t.TempDir(), "key"), Port: m.port,
	})
	check(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), machineEnv+"="+string(cfg))
	cmd.Stderr = &prefixed{name: string(name)}
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	inside(t, ns, func() error { return cmd.Start() })
	m.out, m.in = json.NewEncoder(stdin), json.NewDecoder(stdout)
	t.Cleanup(func() {
		m.do(order{Destroy: true})
		stdin.Close()
		check(t, cmd.Wait())
	})
	m.key = m.answer().Key
	return m
}

// prefixed writes a machine's log, line by line, to standard error.
type prefixed struct{ name string }

func (p *prefixed) Write(b []byte) (int, error) {
	s := bufio.NewScanner(newReader(b))
	for s.Scan() {
		fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, s.Text())
	}
	return len(b), nil
}

func (m *machine) answer() (r report) {
	m.t.Helper()
	if err := m.in.Decode(&r); err != nil {
		m.t.Fatalf("machine %s: %v", m.name, err)
	}
	if r.Error != "" {
		m.t.Errorf("machine %s: %s", m.name, r.Error)
	}
	return r
}

func (m *machine) do(o order) report {
	m.t.Helper()
	check(m.t, m.out.Encode(o))
	return m.answer()
}

// attach starts a container.
func (m *machine) attach(id string, group uint32) place {
	m.t.Helper()
	return m.placeOf(m.do(order{Attach: id, Group: group}))
}

func (m *machine) placeOf(r report) place {
	m.t.Helper()
	ns, err := netns.GetFromPath(r.NetNS)
	check(m.t, err)
	m.t.Cleanup(func() { ns.Close() })
	return place{m.t, ns, r.IP}
}

// runMachine is a machine's process.
func runMachine(text string) error {
	var cfg machineConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	key, err := LoadKey(cfg.KeyFile)
	if err != nil {
		return err
	}
	n, err := Open(Config{
		Name: string(cfg.Name), Subnet: cfg.Subnet, State: cfg.State, Key: key, Port: cfg.Port,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	if _, err := n.Sync(nil); err != nil {
		return err
	}
	views := cloud.NewCell()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = n.Follow(ctx, cfg.Name, views)
	}()
	var mu sync.Mutex
	answers := map[string]bool{}
	go func() {
		_ = n.Watch(ctx, func(node cloud.NodeName, reachable bool) {
			mu.Lock()
			defer mu.Unlock()
			answers[string(node)] = reachable
		})
	}()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	if err := out.Encode(report{Key: PublicKey(key)}); err != nil {
		return err
	}
	for rev := cloud.Revision(1); ; rev++ {
		var o order
		if err := in.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var r report
		var ep Endpoint
		var err error
		switch {
		case o.View != nil:
			v := o.View.view(views.View().State, rev)
			views.Show(v)
			err = n.awaitView(v, cfg.Name)
		case o.Attach != "":
			if ep, err = n.Reserve(o.Attach, o.Group, o.Access); err == nil {
				err = n.Attach(ctx, o.Attach)
			}
		case o.Sandbox != "":
			var s *Sandbox
			if s, err = n.NewSandbox(ctx, o.Sandbox); err == nil {
				ep = Endpoint{NetNS: s.NetNS, IP: s.IP}
			}
		case o.Sockets != nil:
			r.Open, err = n.FromNodes(*o.Sockets)
		case o.Detach != "":
			err = n.Detach(o.Detach)
		case o.Await != "":
			err = awaitLost(o.Await, func() string {
				mu.Lock()
				defer mu.Unlock()
				n.mu.Lock()
				defer n.mu.Unlock()
				var lost []string
				for _, name := range slices.Sorted(maps.Keys(answers)) {
					if !answers[name] {
						lost = append(lost, name)
					}
				}
				if len(lost) == 0 && len(answers) == len(n.peers) {
					return "-"
				}
				return strings.Join(lost, " ")
			})
		case o.Repair:
			err = n.Repair()
		case o.Destroy:
			cancel()
			<-followed
			err = n.Destroy()
		}
		if r.NetNS, r.IP = ep.NetNS, ep.IP; err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

func awaitLost(want string, lost func() string) error {
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(time.Millisecond) { //nolint:forbidigo // another goroutine's work
		if lost() == want {
			return nil
		}
	}
	return fmt.Errorf("the nodes that don't answer are %s, not %s", lost(), want)
}

// view returns the world as a view, which follows on the state.
func (w *world) view(s *cloud.State, rev cloud.Revision) cloud.View {
	var changes []cloud.Change
	for n := range s.Nodes() {
		changes = append(changes, cloud.Delete(n))
	}
	for _, n := range w.Nodes {
		changes = append(changes, cloud.Put(n))
	}
	for _, g := range w.Groups {
		changes = append(changes, cloud.Put(g))
	}
	for _, app := range w.Services {
		changes = append(changes, cloud.Put(&cloud.App{AppRef: app, Service: &cloud.Service{}}))
	}
	o := cloud.NewInstances()
	for _, i := range w.Instances {
		o = o.With(i)
	}
	return cloud.View{State: s.Apply(rev, changes), Instances: o}
}

// awaitView waits until Follow has done what a view asks for.
func (n *Network) awaitView(v cloud.View, self cloud.NodeName) error {
	peers, _ := Peers(v, self)
	want := 0
	for i := range v.Instances.All() {
		if i.Node != self {
			want++
		}
	}
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(time.Millisecond) { //nolint:forbidigo // another goroutine's work
		n.mu.Lock()
		done := len(n.peers) == len(peers) && len(n.remote) == want
		n.mu.Unlock()
		if done {
			return nil
		}
	}
	return errors.New("the view is not followed")
}
