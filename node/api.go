package node

import (
	"context"
	"io"
	"os/user"
	"strconv"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/node/metrics"
)

// openAPI binds the socket and makes the API on the parts that are open by now.
func (n *Node) openAPI(context.Context) (err error) {
	n.api, err = handler.New(handler.Config{
		Store: truth{n.store, n.published}, Runner: runner{n.published, n.driver, n.agent}, Images: imageStore{n.images}, Builder: n.builder,
		Logs: lines{n.logs}, Events: n.events, Node: n, Unpack: unpack, Dir: n.data.Path("uploads"),
		Version: n.cfg.Version, Log: n.log, Now: now,
	})
	if err != nil {
		return err
	}
	n.janitor = janitor.New(janitor.Config{
		Views: n.snapshots, Store: n.store, Images: n.images, Logs: n.logs, LogDir: n.data.Path("logs"), Volumes: n.volumes,
		Writing: n.api.Writing, Log: n.log,
	})
	n.metrics = metrics.New(metrics.Config{Version: n.cfg.Version.Version, Figures: n.figures, Router: n.router, Queries: &n.queries, Views: n.snapshots})
	n.socket, err = listenSocket(n.data.Path("micro.sock"), gidOf("micro"))
	if err == nil {
		n.onRelease(func() { n.socket.Close() })
	}
	return err
}

// serveAPI answers the API's requests. It does so from early on: most say that the node is not ready.
func (n *Node) serveAPI(ctx context.Context) error { return n.api.Run(ctx, n.socket) }

// unpack writes an uploaded folder.
func unpack(r io.Reader, dir string) error {
	return source.Unpack(context.Background(), r, dir, source.Limits{})
}

// gidOf is a group's number, -1 where there is none of the name.
func gidOf(group string) int {
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return gid
}

// Metrics implements the API's handler.Node.
func (n *Node) Metrics(w io.Writer) error { return n.metrics.Write(w) }

// DropVolumes implements the API's handler.Node.
func (n *Node) DropVolumes(app cloud.AppRef) error { return n.volumes.Drop(app) }

// Prune implements the API's handler.Node: it removes images that no release can be rolled back to, and what builds
// keep for speed.
func (n *Node) Prune(ctx context.Context) (api.Pruned, error) {
	if err := n.retention.Prune(ctx); err != nil {
		return api.Pruned{}, err
	}
	images, err := n.janitor.Prune(ctx)
	if err != nil {
		return api.Pruned{}, err
	}
	cache, err := n.builder.Prune(ctx)
	return api.Pruned{Bytes: images + cache}, err
}
