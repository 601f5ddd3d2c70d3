package router

import (
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// Exchange is one request and what became of it. It is valid only while Record runs: what is kept must
// be copied.
type Exchange struct {
	Start    time.Time     // when its first byte came
	First    time.Duration // until the answer's head was there; 0 where none came
	Duration time.Duration // until the last byte was sent

	Client    netip.AddrPort
	Internal  bool   // it came to an internal listener
	Scheme    string // "http" or "https"
	RequestID []byte
	Method    []byte
	Host      []byte // as it came
	Target    []byte // path and query as they came

	// Release is whose request it was. It is zero where no route was found, and has no number where several
	// releases could have taken it and none did, or where a part of micro answered.
	Release  cloud.ReleaseRef
	Instance cloud.InstanceID
	Nth      uint64        // which request of its instance this is, from 1; 0 where none took it
	Age      time.Duration // since the instance's first request

	// RouteHost and RoutePath are the route of a mapped host as it is in the cloud: "*.example.com", "/api".
	// Both are empty for the apps' own addresses.
	RouteHost, RoutePath string

	Status   int           // 499 where the client went away before any answer
	In, Out  int64         // bytes of the bodies
	Attempts int           // endpoints that were tried
	Held     time.Duration // how long it was held for want of a ready instance
	Upgraded bool
	// GRPCStatus is how a gRPC call ended; 0 is well, or no gRPC.
	GRPCStatus uint8
	Pinned     bool   // the client asked for this very release, or a rule of the route names it
	waits      *tally // counts it among those that wait for an answer
	// Error is the code of the answer that micro gave itself, or why the answer broke off; "" is fine.
	Error string
}

// Recorder is told of every exchange, by many goroutines at a time. It must be quick.
type Recorder interface{ Record(*Exchange) }

// WaitRecorder is told which exchanges wait for an answer, by many goroutines at a time. It must be quick.
type WaitRecorder interface {
	// Waits says that a request has been sent whole to x's release, which is to answer now. It may be called again
	// for another release, where the first one broke off.
	Waits(x *Exchange)
	// Waited says that the answer's head is there, or that none will come. It may be called more than once.
	Waited(x *Exchange)
}

// exchange is an Exchange under way.
type exchange struct {
	Exchange
	choice
	c   *conn
	req h1.Request
	res h1.Response

	begun  int64  // on the router's clock
	sent   int64  // when the upstream got the head, or sent its last interim answer
	head   []byte // the request's head; req, Method, Host, Target and RequestID point into it
	buf    []byte // the head being sent, with what of the body is sent along
	copied []byte // the request's head as a mirror gets it; empty for no copy
	id     [2 * 16]byte
	chunks h1.Chunks // of the answer

	seen       origin // whom a trusted proxy speaks for
	clientText [64]byte

	copyOf    *Route // whose mirror gets the copy
	up        *wire
	upload    *upload   // of a body that is sent while the answer is awaited
	heldUntil time.Time // by when a request that is held is refused; zero for one that never was
	upgrade   bool      // it asks for another protocol
	extra     bool      // the upstream sent more than its answer
	reuse     reuse
	answered  bool   // the answer's head has been written
	user      string // who has logged in, where the host wants that
	permitted bool   // among the router's permits
}

var _ fields = (*exchange)(nil)

func (x *exchange) field(name string, nth int) []byte { return x.req.Lookup(name, nth) }

func (x *exchange) reset(c *conn) {
	x.Exchange = Exchange{}
	x.choice.reset(c.r, &c.origin, x)
	x.c, x.head, x.buf, x.copied = c, x.head[:0], x.buf[:0], x.copied[:0]
	x.copyOf, x.up, x.upload = nil, nil, nil
	x.heldUntil, x.user = time.Time{}, ""
	x.upgrade, x.extra, x.answered, x.permitted, x.reuse = false, false, false, false, byAnyone
}

// find looks up the request's route.
func (x *exchange) find() fault {
	x.host, x.target = x.req.Host, x.req.Target
	f := x.choice.find()
	x.note()
	return f
}

// claim counts the request in at an endpoint.
func (x *exchange) claim() fault {
	f := x.choice.claim()
	x.note()
	return f
}

// note records what has been chosen.
func (x *exchange) note() {
	x.Release, x.Pinned = x.release, x.pinned || x.ruled
	if x.route != nil && x.route.mapped {
		x.RouteHost, x.RoutePath = x.route.Host, x.route.Path
	}
	if x.endpoint != nil {
		x.Instance, x.Nth, x.Age = x.endpoint.ID, x.nth, x.age
	}
}
