package node

import (
	"context"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/dnsd"
)

// route keeps the router's table up with the board.
func (n *Node) route(ctx context.Context) error {
	return n.follow(ctx, func(_, now cloud.View) {
		n.router.Swap(n.compiler.Compile(n.router.Table(), now))
		n.routed.set(now.State.Rev())
	})
}

// name keeps the DNS zone up with the board.
func (n *Node) name(ctx context.Context) error {
	return n.follow(ctx, func(old, now cloud.View) {
		n.dns.Swap(dnsd.Compile(n.dns.Zone(), old, now))
	})
}

// follow calls use with every view, or with one that is later where views come faster than use is.
func (n *Node) follow(ctx context.Context, use func(old, now cloud.View)) error {
	old := cloud.View{}
	for {
		now, err := n.board.Changed(ctx, old)
		if err != nil {
			return nil
		}
		use(old, now)
		old = now
	}
}
