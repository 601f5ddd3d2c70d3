package node

import (
	"context"
	"io"
	"os/user"
	"strconv"

	"github.com/protoduction/micro/api/handler"
	"github.com/protoduction/micro/cloud/source"
)

// openAPI binds the socket and makes the API on the parts that are open by now.
func (n *Node) openAPI(context.Context) (err error) {
	n.api, err = handler.New(handler.Config{
		Store: truth{n.store, n.published}, Runner: runner{n.published, n.driver, n.agent}, Images: imageStore{n.images}, Builder: n.builder,
		Logs: lines{n.logs}, Events: n.events, Node: n, Unpack: unpack, Dir: n.data.path("uploads"),
		Version: n.cfg.Version, Log: n.log, Now: now,
	})
	if err != nil {
		return err
	}
	n.socket, err = listenSocket(n.data.path("micro.sock"), gidOf("micro"))
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
