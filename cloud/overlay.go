package cloud

import "net/netip"

// OverlayMode is how the nodes of a cloud send packets to each other's instances.
type OverlayMode string

// The modes of an overlay. WireGuard encrypts; Direct uses plain routes, for nodes on one trusted network.
const (
	OverlayWireGuard OverlayMode = "wireguard"
	OverlayDirect    OverlayMode = "direct"
)

// OverlayModes returns every mode.
func OverlayModes() []OverlayMode { return []OverlayMode{OverlayWireGuard, OverlayDirect} }

// ParseOverlayMode reads a mode's name.
func ParseOverlayMode(s string) (OverlayMode, error) {
	for _, m := range OverlayModes() {
		if string(m) == s {
			return m, nil
		}
	}
	return "", Errorf(Invalid, "unknown overlay %q: want %s or %s", s, OverlayWireGuard, OverlayDirect)
}

// Overlay is how packets for a node's instances reach it from other nodes.
type Overlay struct {
	Mode OverlayMode `json:"mode,omitempty"`
	Key  string      `json:"key,omitempty"`  // WireGuard's public key, in base64; the node has the private one
	Port uint16      `json:"port,omitempty"` // UDP, of WireGuard; 0 for a worker, which others can't begin to send to
}

// SetNetwork returns the changes that record a node's slice and overlay.
func (s *State) SetNetwork(n NodeName, subnet netip.Prefix, o Overlay) ([]Change, error) {
	node, ok := s.Node(n)
	if !ok || node.Subnet == subnet && node.Overlay == o {
		return nil, nil
	}
	for other := range s.Nodes() {
		if other.Name != n && other.Subnet.IsValid() && other.Subnet.Overlaps(subnet) {
			return nil, Errorf(Conflict, "subnet %s overlaps %s, which is that of node %s", subnet, other.Subnet, other.Name)
		}
	}
	next := *node
	next.Subnet, next.Overlay = subnet, o
	if next.Worker {
		next.Addr = netip.AddrPortFrom(next.Gateway(), node.Addr.Port())
	}
	return []Change{Put(&next)}, nil
}
