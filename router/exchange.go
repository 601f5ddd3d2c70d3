package router

import (
	"net/netip"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/router/h1"
)

// Exchange is one request and its result. It is valid only during Record; whatever is kept must be copied.
type Exchange struct {
	Start    time.Time     // arrival of the first byte
	First    time.Duration // from Start to the answer's head; 0 if there was none
	Duration time.Duration // from Start to the last byte sent

	Client    netip.AddrPort
	Internal  bool   // arrived at an internal listener
	Scheme    string // "http" or "https"
	RequestID []byte
	Method    []byte
	Host      []byte // as received
	Target    []byte // path and query as received

	// Release is the release that answered. It is zero if no route was found. It has no number if none of several releases
	// took the request, or if a part of micro answered.
	Release  cloud.ReleaseRef
	Instance cloud.InstanceID
	Nth      uint64        // number of the request at its instance, from 1; 0 if no instance took it
	Age      time.Duration // since the instance's first request

	// RouteHost and RoutePath are the mapped route, such as "*.example.com" and "/api". They are empty for own addresses of
	// apps.
	RouteHost, RoutePath string

	Status   int           // 499 if the client left before an answer
	In, Out  int64         // sizes of the bodies in bytes
	Attempts int           // number of endpoints tried
	Held     time.Duration // how long it waited for a ready instance
	Upgraded bool
	// GRPCStatus is the status of a gRPC call; 0 for success and for other requests.
	GRPCStatus uint8
	// ClientKey is a hash of what its route knows the client by; 0 unless a cross-fade compares releases there.
	ClientKey uint64
	fading    int64  // when the cross-fade began, in Unix seconds
	Pinned    bool   // the client asked for this very release, or a rule of the route names it
	waits     *tally // counts it among those that wait for an answer
	// Error is the code of micro's own answer, or why the answer broke off; "" for success.
	Error string
}

// Recorder records exchanges. Many goroutines call it concurrently, so it must be fast.
type Recorder interface{ Record(*Exchange) }

// WaitRecorder records exchanges that wait for an answer. Many goroutines call it concurrently, so it must be fast.
type WaitRecorder interface {
	// Waits is called after a complete request was sent to x's release. It may be called again for another release, if the
	// first one failed.
	Waits(x *Exchange)
	// Waited is called when the answer's head has arrived, or when there will be none. It may be called more than once.
	Waited(x *Exchange)
}

// exchange is a running Exchange.
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
	parked    bool      // it has waited while the host was held
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
	x.parked, x.upgrade, x.extra, x.answered, x.permitted, x.reuse = false, false, false, false, false, byAnyone
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

// note records the choice.
func (x *exchange) note() {
	x.Release, x.Pinned = x.release, x.pinned || x.ruled
	if x.route != nil && x.route.mapped {
		x.RouteHost, x.RoutePath = x.route.Host, x.route.Path
		if x.route.fading != 0 && !x.Pinned {
			x.ClientKey, x.fading = x.clientKey(), x.route.fading
		}
	}
	if x.endpoint != nil {
		x.Instance, x.Nth, x.Age = x.endpoint.ID, x.nth, x.age
	}
}
