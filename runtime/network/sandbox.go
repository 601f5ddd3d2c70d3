package network

import (
	"context"
	"net/netip"
)

// Sandbox is a network namespace for a step of a build, which can only reach other networks and the gateway's DNS. It
// belongs to its own user namespace, whose root is SandboxBase on the host.
type Sandbox struct {
	NetNS, UserNS string // files on which the namespaces are mounted
	IP            netip.Addr

	n  *Network
	id string
}

// NewSandbox makes a sandbox. Close removes it; the next start of micro removes one that was not closed.
func (n *Network) NewSandbox(ctx context.Context, id string) (*Sandbox, error) {
	ep, err := n.reserve(id, sandboxGroup, Access{})
	if err != nil {
		return nil, err
	}
	if err := n.Attach(ctx, id); err != nil {
		return nil, err
	}
	return &Sandbox{NetNS: ep.NetNS, UserNS: ep.UserNS, IP: ep.IP, n: n, id: id}, nil
}

// Close removes the namespaces and the link.
func (s *Sandbox) Close() error { return s.n.Detach(s.id) }
