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
	peers  []Peer // that it has been told of
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
	return n.tunnel.set(peers)
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

// set makes the tunnel's peers the given ones. Sessions with peers that stay as they are go on.
func (t *tunnel) set(peers []Peer) error {
	if slices.Equal(t.peers, peers) {
		return nil
	}
	var b strings.Builder
	for _, p := range t.peers {
		if !slices.ContainsFunc(peers, func(q Peer) bool { return q.Key == p.Key }) {
			fmt.Fprintf(&b, "public_key=%s\nremove=true\n", hexKey(p.Key))
		}
	}
	for _, p := range peers {
		if slices.Contains(t.peers, p) {
			continue
		}
		// Only the node that owns a slice may send from its addresses: WireGuard drops what is not in allowed_ip.
		fmt.Fprintf(&b, "public_key=%s\nreplace_allowed_ips=true\nallowed_ip=%s\npersistent_keepalive_interval=%d\n", hexKey(p.Key), p.Subnet, keepalive)
		if p.Port != 0 {
			fmt.Fprintf(&b, "endpoint=%s\n", netip.AddrPortFrom(p.Addr, p.Port))
		}
	}
	if err := t.device.IpcSet(b.String()); err != nil {
		return fmt.Errorf("network: WireGuard's peers: %w", err)
	}
	t.peers = peers
	return t.setMTU()
}

// setMTU lets the interface have packets as large as the smallest network to a peer allows.
func (t *tunnel) setMTU() error {
	mtu := uplinkMTU()
	for _, p := range t.peers {
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
