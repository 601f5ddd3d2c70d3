package node

import (
	"context"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

// swapZone replaces the zone of all DNS servers.
func (n *Node) swapZone(z *dnsd.Zone) {
	n.dns.Swap(z)
	if n.publicDNS != nil {
		n.publicDNS.Swap(z)
	}
}

// publish updates the router's table and the DNS zone with each new view, and then publishes that view to the API.
// So the API never reports a state that the router does not have yet.
func (n *Node) publish(ctx context.Context) error {
	old := cloud.View{}
	for {
		now, err := n.snapshots.Changed(ctx, old)
		if err != nil {
			return nil
		}
		n.router.Swap(n.compiler.Compile(n.router.Table(), now))
		n.ports.Changed()
		n.swapZone(dnsd.Compile(n.dns.Zone(), old, now))
		n.closeWaysOut(now.State)
		n.published.Show(now)
		old = now
	}
}
