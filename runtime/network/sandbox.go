package network

import (
	"context"
	"net/netip"
)

// Sandbox is a network namespace for a build's step: a way out, and the gateway's DNS, and nothing
// else. It belongs to a user namespace of its own, in which root is SandboxBase.
type Sandbox struct {
	NetNS, UserNS string // files that the namespaces are pinned to
	IP            netip.Addr

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
	return &Sandbox{NetNS: ep.NetNS, UserNS: ep.UserNS, IP: ep.IP, n: n, id: id}, nil
}

// Close takes the namespace and its link away.
func (s *Sandbox) Close() error { return s.n.Detach(s.id) }
