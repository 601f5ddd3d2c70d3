package handler

import (
	"context"
	"net/netip"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Cluster makes a cloud one of several nodes.
type Cluster interface {
	// Start lets other nodes join. They reach this one at addr; the zero AddrPort lets the node choose. The store moves into
	// etcd: micro's own where store is nil.
	Start(ctx context.Context, addr netip.AddrPort, store *cloud.ExternalStore, by cloud.Actor) error
	// Recover makes this node the whole cloud.
	Recover(ctx context.Context, by cloud.Actor) error
	// Upgrade has a node start the program that is installed on its machine, in the place of the one that runs.
	Upgrade(ctx context.Context, node cloud.NodeName, by cloud.Actor) (api.NodeUpgrade, error)
	NewToken(ctx context.Context, life time.Duration, by cloud.Actor) (api.JoinToken, error)
	// Status returns the nodes and the store. It answers also without a majority of the voters.
	Status(ctx context.Context) (api.Cluster, error)
}

// NodeInput names a node.
type NodeInput struct {
	Node cloud.NodeName `path:"node" maxLength:"64"`
}

func (h *Handler) serveCluster() {
	get(h, operation("cluster", "GET /v1/cluster", "Show the cloud's nodes and its store"),
		func(ctx context.Context, _ *nothing) (api.Cluster, error) { return h.Cluster.Status(ctx) })
	get(h, operation("start-cluster", "POST /v1/cluster", "Let other nodes join: the store moves into etcd, and apps run on"),
		func(ctx context.Context, in *struct{ Body api.NewCluster }) (api.Cluster, error) {
			store, err := externalStore(in.Body.Store)
			if err == nil {
				err = h.Cluster.Start(ctx, in.Body.Addr, store, requestOf(ctx).actor)
			}
			if err != nil {
				return api.Cluster{}, err
			}
			return h.Cluster.Status(ctx)
		})
	get(h, operation("recover-cluster", "POST /v1/cluster/recover", "Make this node the whole cloud, with its copy of the store: all other nodes are lost"),
		func(ctx context.Context, in *struct{ Body api.Recovery }) (api.Cluster, error) {
			if !in.Body.LostAllOthers {
				return api.Cluster{}, cloud.Errorf(cloud.Invalid, "whatever only the other nodes had would be lost").WithCommand("micro cluster recover --lost-all-others")
			}
			if err := h.Cluster.Recover(ctx, requestOf(ctx).actor); err != nil {
				return api.Cluster{}, err
			}
			return h.Cluster.Status(ctx)
		})
	get(h, operation("create-join-token", "POST /v1/cluster/tokens", "Make a token with which one node may join"),
		func(ctx context.Context, in *struct{ Body api.NewJoinToken }) (api.JoinToken, error) {
			life := cloud.MaxJoinTokenLife
			if text := in.Body.Expires; text != "" {
				var err error
				if life, err = time.ParseDuration(text); err != nil {
					return api.JoinToken{}, cloud.Errorf(cloud.Invalid, "%q is no time", text).WithCommand("micro cluster token --expires 1h")
				}
			}
			return h.Cluster.NewToken(ctx, life, requestOf(ctx).actor)
		})
	change := func(ctx context.Context, verb string, n cloud.NodeName, do func(*cloud.State) ([]cloud.Change, error)) (api.Changed, error) {
		none := 0
		return h.update(ctx, verb, "node "+string(n), &none, do)
	}
	for verb, drain := range map[string]bool{"drain": true, "undrain": false} {
		summary := map[bool]string{true: "Move the instances of a node to others, and give it no new ones", false: "Let a node have instances again"}[drain]
		get(h, operation(verb+"-node", "POST /v1/nodes/{node}/"+verb, summary),
			func(ctx context.Context, in *NodeInput) (api.Changed, error) {
				return change(ctx, verb, in.Node, func(s *cloud.State) ([]cloud.Change, error) { return s.DrainNode(in.Node, drain) })
			})
	}
	get(h, operation("remove-node", "POST /v1/nodes/{node}/remove", "Remove a node from the cloud"),
		func(ctx context.Context, in *struct {
			NodeInput
			Body api.NodeRemoval
		}) (api.Changed, error) {
			return change(ctx, "remove", in.Node, func(s *cloud.State) ([]cloud.Change, error) { return s.RemoveNode(in.Node, in.Body.Lost) })
		})
	get(h, operation("upgrade-node", "POST /v1/nodes/{node}/upgrade", "Start the program that is installed on a node's machine, in the place of the one that runs"),
		func(ctx context.Context, in *NodeInput) (api.NodeUpgrade, error) {
			return h.Cluster.Upgrade(ctx, in.Node, requestOf(ctx).actor)
		})
	get(h, operation("label-node", "POST /v1/nodes/{node}/labels", "Set labels of a node"),
		func(ctx context.Context, in *struct {
			NodeInput
			Body api.NodeLabels
		}) (api.Changed, error) {
			return change(ctx, "label", in.Node, func(s *cloud.State) ([]cloud.Change, error) { return s.LabelNode(in.Node, in.Body.Labels) })
		})
}

func externalStore(in *api.ExternalStore) (*cloud.ExternalStore, error) {
	if in == nil {
		return nil, nil
	}
	x, err := cloud.ParseExternalStore(in.URL)
	if in.Password != "" {
		x.Password = in.Password
	}
	x.CA, x.Cert, x.Key = in.CA, in.Cert, in.Key
	return &x, err
}
