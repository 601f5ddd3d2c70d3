package node

import (
	"context"
	"io"
	"os/user"
	"strconv"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud/source"
	"github.com/protoduction/micro/deploy"
	"github.com/protoduction/micro/node/janitor"
	"github.com/protoduction/micro/node/metrics"
)

// openAPI binds the socket and makes the API on the parts that are open by now.
func (n *Node) openAPI(context.Context) (err error) {
	writer := truth{n.store, n.published}
	n.deployer, err = deploy.New(deploy.Config{
		Store: writer, Views: n.published, Images: n.images, Builder: n.builder, Unpack: unpack, Dir: n.data.Path("uploads"),
		Domain: n.cfg.Domain, URLs: n.URLs, Log: n.log, Now: now,
	})
	if err != nil {
		return err
	}
	n.janitor = janitor.New(janitor.Config{
		Views: n.snapshots, Store: n.store, Images: n.images, Logs: n.logs, LogDir: n.data.Path("logs"), Volumes: n.volumes,
		Held: n.deployer.HeldImages, Log: n.log,
	})
	n.metrics = metrics.New(metrics.Config{Version: n.cfg.Version.Version, Figures: n.figures, Router: n.router, Queries: &n.queries, Views: n.snapshots})
	run := commands{n.driver, n.agent}
	n.api, err = handler.New(handler.Config{
		Store: writer, Views: n.published,
		Pushes: n.deployer, Transfers: n.deployer, Rollouts: n.deployer, BuildLogs: n.deployer,
		Commands: run, Usage: run, Requests: n, Images: imageStore{n.images}, Logs: lines{n.logs}, Events: n.events,
		Inspector: n, Compare: n, Passes: n, Volumes: n.volumes, Status: n, Metrics: n.metrics, Disk: n, Down: n.Down,
		Domain: n.cfg.Domain, URLs: n.URLs, Version: n.cfg.Version, Log: n.log, Now: now,
	})
	if err != nil {
		return err
	}
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

// Prune implements the API's handler.Disk: it removes images that no release can be rolled back to, and what
// pushes and builds keep for speed.
func (n *Node) Prune(ctx context.Context) (api.Pruned, error) {
	if err := n.deployer.Prune(n.store.State()); err != nil {
		return api.Pruned{}, err
	}
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
