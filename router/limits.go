package router

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// limits bound requests and connections. They belong to a table: a route without any of its own shares the
// cloud's.
type limits struct {
	handshake    time.Duration // from the acceptance of a connection to what is spoken on it
	head         time.Duration // from the first byte of a request's head to its last
	keepalive    time.Duration // a client's connection between requests
	upstreamIdle time.Duration // an upstream connection between requests
	idle         time.Duration // any stall in a transfer
	body         time.Duration // of a request's body in all, if it comes slowly (see slowest)
	answer       time.Duration // from the end of a request to the answer's head
	stream       time.Duration // between two pieces of an answer
	tunnel       time.Duration // an upgraded connection on which nothing moves
	halfClosed   time.Duration // a client that has ended its sending side, until its answer; 0 is any time
	hold         time.Duration // a request while no instance is ready; 0 is not at all
	maxBody      int64         // bytes of a request's body; 0 is any number
}

// newLimits makes limits of those that are set.
func newLimits(set cloud.Limits) *limits {
	l := set.Or(cloud.DefaultLimits)
	return &limits{
		handshake: time.Duration(l.HandshakeTimeout), head: time.Duration(l.HeaderTimeout),
		keepalive: time.Duration(l.KeepaliveTimeout), upstreamIdle: time.Duration(l.UpstreamKeepaliveTimeout),
		idle: time.Duration(l.IdleTimeout), body: time.Duration(l.BodyTimeout),
		answer: time.Duration(l.AnswerTimeout), stream: time.Duration(l.StreamTimeout), tunnel: time.Duration(l.TunnelTimeout),
		halfClosed: max(0, time.Duration(l.HalfClosedTimeout)), maxBody: max(0, l.MaxBody), hold: max(0, time.Duration(l.Hold)),
	}
}
