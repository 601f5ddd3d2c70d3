package node

import (
	"context"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

// publish keeps the router's table and the DNS zone up with the latest view, and then shows the view that they
// are of: whoever asks the API what is learns nothing that requests do not find so yet.
func (n *Node) publish(ctx context.Context) error {
	old := cloud.View{}
	for {
		now, err := n.snapshots.Changed(ctx, old)
		if err != nil {
			return nil
		}
		n.router.Swap(n.compiler.Compile(n.router.Table(), now))
		n.dns.Swap(dnsd.Compile(n.dns.Zone(), old, now))
		n.published.Show(now)
		old = now
	}
}
