package router

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/protoduction/micro/cloud"
)

// descriptors counts the router's file descriptors. The router uses only a part of the process's limit, so that health
// checks, the API and repairs always find a free one.
type descriptors struct {
	most int64 // 0 is any number
	used atomic.Int64
}

// clientsPart is the part of the descriptors for clients' connections; the rest is for connections to apps.
const clientsPart = 0.9

// pipeDescriptors is the number of descriptors of a pipe for splicing.
const pipeDescriptors = 2

// take takes n descriptors, and reports whether there were enough.
func (d *descriptors) take(n int64) bool {
	if used := d.used.Add(n); d.most > 0 && used > d.most {
		d.used.Add(-n)
		return false
	}
	return true
}

// evictIdle closes an idle connection, of an app or a client, to make room for a new one; false if there is none.
func (r *Router) evictIdle() bool {
	looked := 0
	for _, e := range r.table.Load().endpoints.fromAnywhere(r.random()) {
		if w := e.idle.first(); w != nil {
			w.close()
			return true
		}
		if looked++; looked == 64 {
			break
		}
	}
	return r.conns.evict()
}

// connect makes a new connection to an endpoint.
func (r *Router) connect(e *Endpoint, bytes bool) (*wire, error) {
	if !r.descriptors.take(1) {
		if !r.evictIdle() {
			return nil, syscall.EMFILE
		}
		r.descriptors.force()
	}
	c, err := e.connect(context.Background(), bytes)
	if cloud.Shortage(err) && r.evictIdle() {
		c, err = e.connect(context.Background(), bytes)
	}
	if err != nil {
		r.descriptors.give(1)
		return nil, err
	}
	return newWire(c, &r.bufs, &r.watch, e), nil
}

// force takes a descriptor in exchange for one that is about to be returned.
func (d *descriptors) force() { d.used.Add(1) }

func (d *descriptors) give(n int64) { d.used.Add(-n) }
