package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Dialer connects to other nodes. The certificate of a node must be that of its name, whatever answers at its
// address.
type Dialer struct {
	Identity *Identity
	// Addr returns where a node is.
	Addr func(cloud.NodeName) (netip.AddrPort, bool)

	mu      sync.Mutex
	clients map[string]*http.Client // by protocol and node
	open    map[*dialed]bool
}

// dialed is a connection to a node.
type dialed struct {
	net.Conn
	node   cloud.NodeName
	dialer *Dialer
}

// Close implements net.Conn.
func (c *dialed) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// Drop closes all connections to a node that is dead, so that nobody waits for its answers: a process that stands still
// keeps its connections.
func (d *Dialer) Drop(node cloud.NodeName) {
	var dead []*dialed
	d.mu.Lock()
	for c := range d.open {
		if c.node == node {
			dead = append(dead, c)
		}
	}
	d.mu.Unlock()
	for _, c := range dead {
		_ = c.Close() // whoever uses it gets an error
	}
}

const dialTimeout = 3 * time.Second

// Dial returns a connection to a node that speaks a protocol.
func (d *Dialer) Dial(ctx context.Context, proto string, node cloud.NodeName) (net.Conn, error) {
	addr, ok := d.Addr(node)
	if !ok {
		return nil, cloud.Errorf(cloud.NotFound, "no node %q in this cloud", node).WithCommand("micro node list")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: d.Identity.client(proto, node), NetDialer: &net.Dialer{Control: giveUpUnconfirmed, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3,
	}}}
	c, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "node %s does not answer: %w", node, err)
	}
	of := &dialed{c, node, d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = map[*dialed]bool{}
	}
	d.open[of] = true
	return of, nil
}

// Client returns an HTTP client whose requests all go to one node by one protocol, whatever host their URL has. It
// keeps connections, and is the same for each call.
func (d *Dialer) Client(proto string, node cloud.NodeName) *http.Client {
	key := proto + " " + string(node)
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[key]; c != nil {
		return c
	}
	if d.clients == nil {
		d.clients = map[string]*http.Client{}
	}
	c := &http.Client{
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx, proto, node) },
			MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a node never redirects") },
	}
	d.clients[key] = c
	return c
}
