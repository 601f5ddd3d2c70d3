package router

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/protoduction/micro/cloud"
)

// remote is another node, as far as requests to its instances are concerned. All endpoints on it share one.
type remote struct {
	lost atomic.Bool // packets to its instances are not answered
}

// SetReachable says whether the instances of another node can be reached now. Those of a node that can't get requests
// only where there is nobody else. A node counts as reachable until something else is said.
func (c *Compiler) SetReachable(node cloud.NodeName, reachable bool) {
	c.remote(node).lost.Store(!reachable)
}

// remote returns what endpoints on a node share; nil for this node.
func (c *Compiler) remote(node cloud.NodeName) *remote {
	if node == c.Node || node == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.remotes[node]
	if r == nil {
		if c.remotes == nil {
			c.remotes = map[cloud.NodeName]*remote{}
		}
		r = new(remote)
		c.remotes[node] = r
	}
	return r
}

// A connection to another node ends when nothing of what was sent has been confirmed for so long, or when its end has
// not answered to any of the probes of an idle connection: the node may be gone, and nobody else would say so. That is
// longer than a restart of the other micro, in which the overlay is silent.
const unconfirmedLimit = 4 * time.Second

var remoteDialer = net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 2},
	ControlContext: func(_ context.Context, _, _ string, c syscall.RawConn) (err error) {
		if cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unconfirmedLimit.Milliseconds()))
		}); cerr != nil {
			return cerr
		}
		return err
	},
}

// spill is how many more requests in flight this node's own instance has before one on another node is preferred.
const spill = 8

// pickNear returns an endpoint on this node, unless it is much busier than one on another node, or out of service.
func (p *Pool) pickNear(random uint64, now int64) *Endpoint {
	near, far := twoOf(p.near, random, now), twoOf(p.far, mix(random), now)
	if near.load(now) > far.load(now)+spill {
		return far
	}
	return near
}

// twoOf returns the less loaded of two endpoints at random. The list must not be empty.
func twoOf(list []*Endpoint, random uint64, now int64) *Endpoint {
	n := uint64(len(list))
	i := random % n
	if n == 1 {
		return list[i]
	}
	j := (random >> 32) % (n - 1)
	if j >= i {
		j++
	}
	return lessLoaded(list[i], list[j], mix(random), now)
}

// split sorts the endpoints by whether they are on this node; a pool that is wholly on one side needs no lists.
func (p *Pool) split() {
	p.near, p.far = nil, nil
	for _, e := range p.Endpoints {
		if e.at == nil {
			p.near = append(p.near, e)
		} else {
			p.far = append(p.far, e)
		}
	}
	if len(p.near) == 0 || len(p.far) == 0 {
		p.near, p.far = nil, nil
	}
}
