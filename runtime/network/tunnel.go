package network

import (
	"crypto/ecdh"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/protoduction/micro/cloud"
)

const (
	// tunnelOverhead is what WireGuard adds to a packet at most, by IPv6: the headers of IP, UDP and WireGuard, and the
	// authentication tag.
	tunnelOverhead = 80
	// keepalive is how often, in seconds, a silent peer is sent something. It keeps the mappings of a NAT router open.
	keepalive = 25
)

// tunnel is WireGuard in this process: the kernel hands its packets to the process by a TUN device.
type tunnel struct {
	device *device.Device
	link   netlink.Link
	peers  []Peer        // that it has been told of
	set    []wireGuarded // the same, as WireGuard has them
}

// wireGuarded is a peer of WireGuard's.
type wireGuarded struct {
	key      string
	endpoint netip.AddrPort // invalid for a worker: WireGuard learns it from the worker's packets
	// allowed are the slices whose packets may come from the peer, and go to it, separated by spaces.
	allowed string
}

// wireGuardedPeers returns WireGuard's peers. A relay has also the slices of the workers behind it.
func wireGuardedPeers(peers []Peer) (list []wireGuarded) {
	for _, p := range peers {
		if p.Relay != "" {
			continue
		}
		w := wireGuarded{key: p.Key, allowed: p.Subnet.String()}
		if p.Port != 0 && !p.Worker {
			w.endpoint = netip.AddrPortFrom(p.Addr, p.Port)
		}
		for _, behind := range peers {
			if behind.Relay == p.Node {
				w.allowed += " " + behind.Subnet.String()
			}
		}
		list = append(list, w)
	}
	return list
}

// add writes the configuration of a peer.
func (w wireGuarded) add(b *strings.Builder) {
	// Only the node that owns a slice may send from its addresses: WireGuard drops what is not in allowed_ip.
	fmt.Fprintf(b, "public_key=%s\nreplace_allowed_ips=true\n", hexKey(w.key))
	for p := range strings.SplitSeq(w.allowed, " ") {
		fmt.Fprintf(b, "allowed_ip=%s\n", p)
	}
	fmt.Fprintf(b, "persistent_keepalive_interval=%d\n", keepalive)
	if w.endpoint.IsValid() {
		fmt.Fprintf(b, "endpoint=%s\n", w.endpoint)
	}
}

func (w wireGuarded) remove(b *strings.Builder) {
	fmt.Fprintf(b, "public_key=%s\nremove=true\n", hexKey(w.key))
}

// setTunnel makes WireGuard's peers those of n.peers that use it. The tunnel is there only while there is one. n.mu
// must be held.
func (n *Network) setTunnel() error {
	peers := slices.DeleteFunc(slices.Clone(n.peers), func(p Peer) bool { return p.Mode != cloud.OverlayWireGuard })
	if n.tunnel != nil {
		if _, err := netlink.LinkByName(n.tunnelName()); err != nil {
			n.stopTunnel() // another program has removed its interface
		}
	}
	if len(peers) == 0 {
		n.stopTunnel()
		return nil
	}
	if n.tunnel == nil {
		t, err := openTunnel(n.tunnelName(), n.cfg.Key, n.cfg.Port, n.log)
		if err != nil {
			return err
		}
		n.tunnel = t
	}
	return n.tunnel.setPeers(peers)
}

// beginAnew begins a new session with a peer that does not answer. WireGuard itself does so after 15 seconds.
func (n *Network) beginAnew(node cloud.NodeName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := slices.IndexFunc(n.peers, func(p Peer) bool { return p.Node == node })
	if n.tunnel == nil || k < 0 {
		return
	}
	for _, w := range n.tunnel.set {
		if w.key != n.peers[k].Key {
			continue
		}
		var b strings.Builder
		w.remove(&b)
		w.add(&b)
		if err := n.tunnel.device.IpcSet(b.String()); err != nil {
			n.log.Warn("cannot begin a new session with another node", "node", node, "err", err)
		}
	}
}

func (n *Network) stopTunnel() {
	if n.tunnel != nil {
		n.tunnel.device.Close() // removes the interface and its routes too
		n.tunnel = nil
	}
}

func (n *Network) closeTunnel() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopTunnel()
}

func openTunnel(name string, key *ecdh.PrivateKey, port uint16, log *slog.Logger) (*tunnel, error) {
	if key == nil {
		return nil, fmt.Errorf("network: the node has no key for WireGuard")
	}
	t, err := tun.CreateTUN(name, uplinkMTU()-tunnelOverhead)
	if err != nil {
		return nil, fmt.Errorf("network: WireGuard needs a TUN device (/dev/net/tun): %w", err)
	}
	log = log.With("part", "wireguard")
	d := device.NewDevice(t, conn.NewDefaultBind(), &device.Logger{
		Verbosef: func(string, ...any) {},
		Errorf:   func(format string, args ...any) { log.Debug(fmt.Sprintf(format, args...)) },
	})
	err = d.IpcSet(fmt.Sprintf("private_key=%x\nlisten_port=%d\n", key.Bytes(), port))
	if err == nil {
		err = d.Up()
	}
	var link netlink.Link
	if err == nil {
		link, err = netlink.LinkByName(name)
	}
	if err == nil {
		noIPv6(name)
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("network: WireGuard on UDP port %d: %w", port, err)
	}
	return &tunnel{device: d, link: link}, nil
}

// setPeers makes the tunnel's peers the given ones. Sessions with peers that stay as they are go on.
func (t *tunnel) setPeers(peers []Peer) error {
	if slices.Equal(t.peers, peers) {
		return nil
	}
	next := wireGuardedPeers(peers)
	var b strings.Builder
	for _, w := range t.set {
		if !slices.ContainsFunc(next, func(o wireGuarded) bool { return o.key == w.key }) {
			w.remove(&b)
		}
	}
	for _, w := range next {
		if !slices.Contains(t.set, w) {
			w.add(&b)
		}
	}
	if err := t.device.IpcSet(b.String()); err != nil {
		return fmt.Errorf("network: WireGuard's peers: %w", err)
	}
	t.peers, t.set = peers, next
	return t.setMTU()
}

// setMTU lets the interface have packets as large as the smallest network to a peer allows.
func (t *tunnel) setMTU() error {
	mtu := uplinkMTU()
	for _, p := range t.peers {
		if p.Worker {
			continue // its address is inside the tunnel
		}
		ways, err := netlink.RouteGet(net.IP(p.Addr.AsSlice()))
		if err != nil || len(ways) == 0 {
			continue
		}
		if l, err := netlink.LinkByIndex(ways[0].LinkIndex); err == nil {
			mtu = min(mtu, l.Attrs().MTU)
		}
	}
	if err := netlink.LinkSetMTU(t.link, max(mtu-tunnelOverhead, 576)); err != nil {
		return fmt.Errorf("network: MTU of WireGuard's interface: %w", err)
	}
	return nil
}

// hexKey returns a checked key as WireGuard's configuration has it.
func hexKey(text string) string {
	raw, err := parseKey(text)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(raw)
}

// defaultPort is the UDP port that WireGuard's own tools use.
const defaultPort = 51820

// PickPort returns a free UDP port for WireGuard, the default one if it is free.
func PickPort() (uint16, error) {
	var err error
	for _, port := range []int{defaultPort, 0} {
		var c *net.UDPConn
		if c, err = net.ListenUDP("udp", &net.UDPAddr{Port: port}); err == nil {
			defer c.Close()
			a, _ := c.LocalAddr().(*net.UDPAddr)
			return uint16(a.Port), nil
		}
	}
	return 0, fmt.Errorf("network: find a UDP port for WireGuard: %w", err)
}
