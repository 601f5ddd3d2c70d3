package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Authority issues certificates of public hosts, and keeps them where all nodes find them.
type Authority interface {
	// Order gets a certificate for a host. A failure is a *cloud.OrderFailure; a Conflict is that another node orders it.
	Order(ctx context.Context, h cloud.Host) (cloud.IssuedCertificate, error)
	// Own says whether there is a certificate for the host that nobody has to order.
	Own(h cloud.Host) bool
}

// Ledger keeps the records of certificates, where the next leader finds them.
type Ledger interface {
	Records(ctx context.Context) (Records, error)
	Save(ctx context.Context, r cloud.CertificateRecord) error
	// Forget removes the records and certificates of hosts.
	Forget(ctx context.Context, hosts ...cloud.Host) error
}

const (
	// atATime is how many orders are under way at a time.
	atATime = 4
	// orderTime is how long an order may take.
	orderTime = 5 * time.Minute
	// alarmBefore is the part of a certificate's life that is left when its owner is told that renewing fails.
	alarmBefore = 4
	// alarmEvery is how often.
	alarmEvery = 24 * time.Hour
)

// Certificates orders certificates for public hosts, and renews them when a third of their life is left. What fails
// is tried again later; meanwhile the certificate in hand serves.
type Certificates struct {
	Views     Views
	Authority Authority
	Ledger    Ledger
	Events    Events
	Log       *slog.Logger
	Now       func() time.Time

	mu      sync.Mutex
	ordered map[cloud.Host]bool // orders under way
	alarmed map[cloud.Host]time.Time
}

// Name implements Duty.
func (*Certificates) Name() string { return "certificates" }

// Run implements Duty.
func (c *Certificates) Run(ctx context.Context) error {
	c.ordered, c.alarmed = map[cloud.Host]bool{}, map[cloud.Host]time.Time{}
	var running sync.WaitGroup
	defer running.Wait()
	ended := make(chan struct{}, 1)
	places := make(chan struct{}, atATime)
	view := c.Views.View()
	for {
		due, next, err := c.decide(ctx, view.State)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			c.Log.Warn("cannot look after certificates", "err", err)
			next = c.Now().Add(retryFirst)
		}
		for _, h := range due {
			c.begin(h)
			running.Go(func() {
				defer c.end(h, ended)
				select {
				case places <- struct{}{}:
					defer func() { <-places }()
				case <-ctx.Done():
					return
				}
				c.order(ctx, h)
			})
		}
		wait := tidyEvery
		if !next.IsZero() {
			wait = min(wait, max(next.Sub(c.Now()), time.Second))
		}
		waiting, stop := context.WithTimeout(ctx, wait)
		changed := make(chan cloud.View, 1)
		go func() {
			v, err := c.changed(waiting, view)
			if err != nil {
				close(changed)
				return
			}
			changed <- v
		}()
		select {
		case <-ended:
		case v, ok := <-changed:
			if ok {
				view = v
			}
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// changed waits for another state than the view's.
func (c *Certificates) changed(ctx context.Context, old cloud.View) (cloud.View, error) {
	for v := old; ; {
		var err error
		if v, err = c.Views.Changed(ctx, v); err != nil || v.State != old.State {
			return v, err
		}
	}
}

func (c *Certificates) begin(h cloud.Host) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ordered[h] = true
}

func (c *Certificates) end(h cloud.Host, ended chan<- struct{}) {
	c.mu.Lock()
	delete(c.ordered, h)
	c.mu.Unlock()
	select {
	case ended <- struct{}{}:
	default:
	}
}

// decide returns the hosts to order certificates for now, and when to look again.
func (c *Certificates) decide(ctx context.Context, s *cloud.State) ([]cloud.Host, time.Time, error) {
	records, err := c.Ledger.Records(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	var wanted, idle []cloud.Host
	for _, h := range Wanted(s, records, c.Now()) {
		if !c.Authority.Own(h) {
			wanted = append(wanted, h)
		}
	}
	now := c.Now()
	c.mu.Lock()
	for _, h := range wanted {
		if !c.ordered[h] {
			idle = append(idle, h)
		}
	}
	c.mu.Unlock()
	if gone := unwanted(wanted, records, now); len(gone) > 0 {
		if err := c.Ledger.Forget(ctx, gone...); err != nil {
			return nil, time.Time{}, err
		}
	}
	for _, h := range wanted {
		c.alarm(s, records[h], now)
	}
	due, next := NextOrders(idle, records, now)
	return due, next, nil
}

// alarm tells a host's owner that its certificate ends soon, or has ended.
func (c *Certificates) alarm(s *cloud.State, r cloud.CertificateRecord, now time.Time) {
	left := r.Expires.Sub(now)
	if r.Expires.IsZero() || left > r.Expires.Sub(r.From)/alarmBefore || r.Failed == nil || now.Sub(c.alarmed[r.Host]) < alarmEvery {
		return
	}
	c.alarmed[r.Host] = now
	text := fmt.Sprintf("the certificate of %s ends at %s, and the last order failed at the step %s: %s", r.Host, r.Expires.UTC().Format(time.RFC3339), r.Failed.Step, r.Failed.Reason)
	if left <= 0 {
		text = fmt.Sprintf("the certificate of %s has ended at %s: clients refuse it; the last order failed at the step %s: %s", r.Host, r.Expires.UTC().Format(time.RFC3339), r.Failed.Step, r.Failed.Reason)
	}
	c.note(s, r.Host, "certificate.ending", text)
}

func (c *Certificates) note(s *cloud.State, h cloud.Host, kind, text string) {
	group := cloud.DefaultGroup
	if v, ok := s.VirtualHost(h); ok {
		group = v.Group
	} else if d, ok := s.DomainOf(h); ok {
		group = d.Group
	}
	c.Events.Note(Event{Group: group, Kind: kind, Object: string(h), Text: text})
}

// order orders a certificate, and records what became of it.
func (c *Certificates) order(ctx context.Context, h cloud.Host) {
	limited, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	begun := c.Now()
	got, err := c.Authority.Order(limited, h)
	if cloud.CodeOf(err) == cloud.Conflict {
		pause(ctx, retryAfter) // another node orders it
		return
	}
	if ctx.Err() != nil {
		return
	}
	records, readErr := c.Ledger.Records(ctx)
	if readErr != nil {
		c.Log.Warn("cannot record an order", "host", h, "err", readErr)
		pause(ctx, retryFirst) // without a record it would be ordered again at once
		return
	}
	r := records[h]
	r.Host, r.Tried = h, begun
	state := c.Views.View().State
	if err == nil {
		r = succeeded(r, got, c.Now())
		c.note(state, h, "certificate.issued", fmt.Sprintf("%s has a certificate of %s until %s", h, got.Issuer, got.Expires.UTC().Format(time.RFC3339)))
	} else {
		failure, ok := errors.AsType[*cloud.OrderFailure](err)
		if !ok {
			failure = &cloud.OrderFailure{Step: cloud.StepOrder, Reason: err.Error()}
		}
		r = orderFailed(r, failure, c.Now())
		c.Log.Warn("an order for a certificate failed", "host", h, "step", failure.Step, "err", failure.Reason, "next", r.Next)
		c.note(state, h, "certificate.failed", fmt.Sprintf("%s: the order failed at the step %s: %s", h, failure.Step, failure.Reason))
	}
	if err := c.Ledger.Save(ctx, r); err != nil {
		c.Log.Warn("cannot record an order", "host", h, "err", err)
		pause(ctx, retryFirst)
	}
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
