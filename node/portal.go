package node

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/protoduction/micro/access"
	"github.com/protoduction/micro/access/portal"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router"
)

// newPortal returns the page at which people log in to hosts that want that.
func (n *Node) newPortal(callers *access.Access) *portal.Portal {
	return portal.New(portal.Config{
		Callers: callers, Provided: callers, Path: router.LoginPath(), Cookie: router.LoginCookie(), Now: n.now,
		Sign: func(u *cloud.User, groups []cloud.Subject, host string, until time.Time) string {
			return router.Visit{User: u.Name, Groups: groups, Host: host, Expires: until.Unix()}.Cookie(n.secret, u)
		},
	})
}

// inside is a listener that this process alone can connect to.
type inside struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newInside() *inside { return &inside{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Dial connects to what serves the listener.
func (l *inside) Dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *inside) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *inside) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *inside) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "pipe"} }

// servePortal answers what the router leads to the portal, until ctx ends.
func (n *Node) servePortal(ctx context.Context) error {
	srv := &http.Server{
		Handler: n.portal, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	srv.SetKeepAlivesEnabled(false) // the router need not keep connections within the process
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(n.portalAt); err != http.ErrServerClosed {
		return err
	}
	return nil
}
