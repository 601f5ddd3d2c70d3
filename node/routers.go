package node

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// routers are those of all nodes.
type routers struct{ *Node }

// Everywhere returns when all living nodes' routers have a revision.
func (r routers) Everywhere(ctx context.Context, rev cloud.Revision) { r.everywhere(ctx, rev) }

const (
	// parkedWait is how long requests may take to go on after a hold; some of them may wait for an instance then.
	parkedWait = 5 * time.Second
	parkedPoll = 5 * time.Millisecond
)

// Parked returns what became of the requests during a hold of a host, at all living nodes.
func (r routers) Parked(ctx context.Context, h cloud.Host, id string) (sum api.ParkedRequests) {
	add := func(p router.Parked) {
		sum.Waited, sum.Late, sum.Refused = sum.Waited+p.Waited, sum.Late+p.Late, sum.Refused+p.Refused
		sum.Longest = max(sum.Longest, cloud.Duration(p.Longest))
	}
	add(r.parkedHere(ctx, h, id))
	for _, node := range r.otherNodes() {
		p, err := callNode[router.Parked](ctx, r.Node, node, http.MethodGet, "/peer/parked", url.Values{"host": {string(h)}, "id": {id}})
		if err != nil {
			r.log.Warn("it is not known how long requests at another node were held", "node", string(node), "host", string(h), "err", err)
			continue
		}
		add(p)
	}
	return sum
}

// parkedHere waits until no request waits any more at this node's router.
func (n *Node) parkedHere(ctx context.Context, h cloud.Host, id string) router.Parked {
	for until := time.Now().Add(parkedWait); ; {
		p := n.router.Parked(h, id)
		if p.Left == 0 || time.Now().After(until) {
			return p
		}
		select {
		case <-time.After(parkedPoll):
		case <-ctx.Done():
			return p
		}
	}
}
