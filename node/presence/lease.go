package presence

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/store/kv"
)

const (
	// ttl is how long a node is alive for the others without a sign of life. etcd prolongs it by an election.
	ttl = 6 * time.Second
	// fencedAfter is when a node that can't renew its lease assumes that it is lost. What remains of ttl is for ending
	// what must not run twice.
	fencedAfter = 4 * time.Second
	renewEvery  = time.Second
	// KilledAfter is when what must not run twice is killed at the latest, if the lease has not been renewed. It is sooner
	// than ttl by what the kill may take.
	KilledAfter = 4500 * time.Millisecond
	retryAfter  = 500 * time.Millisecond
)

// Presence is this node among the others.
type Presence struct {
	Node   cloud.NodeName
	Engine kv.Engine
	Views  *cloud.Cell
	Log    *slog.Logger
	// Routers are the addresses at which other machines reach this node's internal listeners.
	Routers []netip.Addr
	// Renewing is called before the lease is asked for or renewed, and what it returns when that has succeeded. After an
	// error the node does not count on the lease: the fence of its instances does not know it. nil does nothing.
	Renewing func() (renewed func() error)

	mu      sync.Mutex
	term    *Term
	lease   kv.LeaseID    // of the last term
	renewed time.Time     // when the renewal was sent that succeeded last
	changed chan struct{} // closed and replaced when the term changes
	follows bool          // Follow has begun
	known   int64         // the engine's revision up to which Follow has read all; 0 while it reads nothing
	moved   chan struct{} // closed and forgotten when known changes
	lead    *candidacy    // nil until Lead is called
}

// Term is the time for which a node has a lease.
type Term struct {
	ID   kv.LeaseID
	ctx  context.Context
	lose context.CancelFunc
}

// Lost is closed when the lease is lost, or may be.
func (t *Term) Lost() <-chan struct{} { return t.ctx.Done() }

// Current returns the present term, nil for none, and a channel that is closed when that changes.
func (p *Presence) Current() (*Term, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.term, p.changed
}

func (p *Presence) setTerm(t *Term) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term = t; t != nil {
		p.lease = t.ID
	}
	if p.changed != nil {
		close(p.changed)
	}
	p.changed = make(chan struct{})
}

// Holds reports whether the node has a lease. It waits for one for a moment: a node that has just started has none yet. If
// the last renewal is late, it asks the store, because the lease lasts for some seconds after a majority of the voters has
// ceased to answer.
func (p *Presence) Holds(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, graceForLease)
	defer cancel()
	for {
		t, changed := p.Current()
		if t != nil {
			return p.inTime() || p.reaches(ctx)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

const (
	graceForLease = 2 * time.Second
	// lateAfter is when a renewal is late: it is sent every second, and answered in some milliseconds.
	lateAfter = renewEvery + renewEvery/3
)

// inTime reports whether the last renewal is not late.
func (p *Presence) inTime() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.renewed) < lateAfter
}

// reaches reports whether a majority of the voters answers. In an election that takes a moment.
func (p *Presence) reaches(ctx context.Context) bool {
	_, err := p.Engine.Get(ctx, leadKey)
	return err == nil
}

func (p *Presence) setRenewed(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed = sent
}

// Keep keeps the node's lease until ctx ends, and gets another one when it is lost.
func (p *Presence) Keep(ctx context.Context) error {
	for ctx.Err() == nil {
		sent, renewed := time.Now(), p.renewing()
		granting, cancel := context.WithTimeout(ctx, ttl)
		id, err := p.Engine.Grant(granting, ttl)
		cancel()
		if err != nil {
			p.Log.Debug("cannot get this node's lease", "err", err)
			pause(ctx, retryAfter)
			continue
		}
		// With a state from before, the node might start what has a place on another node now. Until it knows the newest
		// state it stays fenced. It says first that it is alive, so that none of its places is taken after that.
		catching, cancel := context.WithDeadline(ctx, sent.Add(fencedAfter/2))
		err = p.announce(catching, id)
		if err == nil {
			err = p.CatchUp(catching)
		}
		cancel()
		if err != nil {
			p.Log.Debug("cannot read the newest state", "err", err)
			pause(ctx, retryAfter)
			continue
		}
		if err := renewed(); err != nil {
			p.Log.Error("this node does nothing that must not be done twice: its fence cannot be moved", "err", err)
			pause(ctx, retryAfter)
			continue
		}
		t := &Term{ID: id}
		t.ctx, t.lose = context.WithCancel(ctx)
		p.setRenewed(sent)
		p.observe(true)
		p.setTerm(t)
		p.renew(ctx, t, sent)
		t.lose()
		p.setTerm(nil)
		if ctx.Err() == nil {
			p.forgetLease()
			p.observe(false)
			p.Log.Warn("this node has lost its lease: the cloud's store does not answer, or the node was stopped for a while")
		}
	}
	return nil
}

// renew renews a lease that was last renewed at a time, and returns when it is lost or ctx ends.
func (p *Presence) renew(ctx context.Context, t *Term, renewed time.Time) {
	type answer struct {
		sent    time.Time
		renewed func() error
		err     error
	}
	answers := make(chan answer, 8)
	ask := func() {
		sent, renewed := time.Now(), p.renewing()
		asking, cancel := context.WithTimeout(ctx, fencedAfter)
		defer cancel()
		answers <- answer{sent, renewed, p.Engine.Renew(asking, t.ID)}
	}
	every := time.NewTicker(renewEvery)
	defer every.Stop()
	running := 0
	for {
		fence := time.NewTimer(time.Until(renewed.Add(fencedAfter)))
		select {
		case <-ctx.Done():
			fence.Stop()
			return
		case <-fence.C:
			return
		case <-every.C:
			// A request that hangs must not keep the next one from being sent.
			if running < cap(answers) {
				running++
				go ask()
			}
		case a := <-answers:
			running--
			if errors.Is(a.err, kv.ErrNoLease) {
				fence.Stop()
				return
			}
			if a.err != nil || !a.sent.After(renewed) {
				break
			}
			if err := a.renewed(); err != nil {
				p.Log.Error("instances that must not run twice may be killed: their fence cannot be moved", "err", err)
				break
			}
			renewed = a.sent
			p.setRenewed(renewed)
		}
		fence.Stop()
		if time.Since(renewed) > fencedAfter { // the process was stopped, and an answer came first
			return
		}
	}
}

func (p *Presence) renewing() (renewed func() error) {
	if p.Renewing == nil {
		return func() error { return nil }
	}
	return p.Renewing()
}

// observe notes whether this node holds its lease.
func (p *Presence) observe(alive bool) {
	p.Views.Observe(func(o *cloud.Instances) *cloud.Instances {
		if s, ok := o.NodeStatus(p.Node); ok && s.Alive == alive {
			return o
		}
		return o.WithNode(&cloud.NodeStatus{Name: p.Node, Alive: alive, Fenced: !alive})
	})
}

// forgetLease makes Leave do nothing: the lease is lost, and a majority that ended it does not answer.
func (p *Presence) forgetLease() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lease = 0
}

// Leave ends the node's lease, so that the others need not wait for its end. It may be called after Keep has ended.
func (p *Presence) Leave(ctx context.Context) error {
	p.mu.Lock()
	lease := p.lease
	p.mu.Unlock()
	if lease == 0 {
		return nil
	}
	// Say that it is on purpose: what must not run twice has ended here, and may start elsewhere at once.
	value, err := json.Marshal(cloud.NodeStatus{Name: p.Node, Left: true})
	if err == nil {
		_, err = p.Engine.Commit(ctx, kv.Txn{Put: []kv.Put{{Key: seenPrefix + string(p.Node) + "/" + statusKey, Value: value, Lease: lease}}})
	}
	return errors.Join(err, p.Engine.Revoke(ctx, lease))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
