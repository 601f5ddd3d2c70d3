package node

import (
	"net"
	"net/netip"
	"sync"
)

// Limits of the remote API's connections. A command has one or two; who streams logs of fifty apps has fifty.
const (
	maxRemoteConns  = 1000
	maxRemoteClient = 100
)

// limited closes connections beyond a limit, in all and for each client, before anything is read of them: strangers
// must not use up the node's descriptors. All listeners of the API share one count.
type limited struct {
	net.Listener
	counts *connCounts
}

// connCounts counts connections by client.
type connCounts struct {
	all, each int // at most

	mu      sync.Mutex
	total   int
	clients map[netip.Addr]int
}

func newConnCounts(all, each int) *connCounts {
	return &connCounts{all: all, each: each, clients: map[netip.Addr]int{}}
}

// clientOf is whom a connection is counted for: an IPv4 address, or a network of 64 bits of IPv6.
func clientOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // it has so many bits
		return p.Addr()
	}
	return a
}

// add counts a connection, and reports whether there is room for it. This machine itself has no limit of its own: a
// proxy speaks for many.
func (c *connCounts) add(client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= c.all || c.clients[client] >= c.each && !client.IsLoopback() {
		return false
	}
	c.total++
	c.clients[client]++
	return true
}

func (c *connCounts) remove(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.clients[client]--; c.clients[client] == 0 {
		delete(c.clients, client)
	}
}

// Accept returns the next connection for which there is room.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := clientOf(c)
		if !l.counts.add(client) {
			_ = c.Close()
			continue
		}
		return &counted{Conn: c, remove: sync.OnceFunc(func() { l.counts.remove(client) })}, nil
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	remove func()
}

func (c *counted) Close() error {
	c.remove()
	return c.Conn.Close()
}
