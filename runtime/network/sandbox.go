package network

import (
	"context"
	"net/netip"
)

// Sandbox is a network namespace for a build's step: a way out, and the gateway's DNS, and nothing
// else. It belongs to the host's user namespace.
type Sandbox struct {
	Path string // of the namespace
	IP   netip.Addr

	n  *Network
	id string
}

// NewSandbox makes one. Close takes it away; one that was not closed goes with the next start of micro.
func (n *Network) NewSandbox(ctx context.Context, id string) (*Sandbox, error) {
	ep, err := n.reserve(id, sandboxGroup)
	if err != nil {
		return nil, err
	}
	if err := n.Attach(ctx, id); err != nil {
		return nil, err
	}
	return &Sandbox{Path: ep.NetNS, IP: ep.IP, n: n, id: id}, nil
}

// Close takes the namespace and its link away.
func (s *Sandbox) Close() error { return s.n.Detach(s.id) }
