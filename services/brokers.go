package services

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Brokers is the duty that has brokers provision, update and delete services. What a broker was asked is written down before
// the broker hears of it, and what it has accepted as soon as it says so: the next leader goes on from there.
type Brokers struct {
	Views  Views
	Writer Writer
	HTTP   *http.Client
	Events Events
	Log    *slog.Logger
	Now    func() time.Time

	mu   sync.Mutex
	busy map[cloud.AppRef]bool
	all  sync.WaitGroup
}

const (
	// unsentFor is how long a broker that cannot be reached is tried before anything was asked of it.
	unsentFor = 30 * time.Second
	// maxPolling is how long a broker may work on something, if its plan does not say less.
	maxPolling = 24 * time.Hour
	// pollFirst and pollMost bound how often a broker is asked how far it is, if it does not say how often.
	pollFirst = time.Second
	pollMost  = 30 * time.Second
	// busyBroker is how soon to look again for services that are being worked on.
	busyBroker = time.Second
)

// Name implements leader.Duty.
func (*Brokers) Name() string { return "services of brokers" }

// Run implements leader.Duty.
func (d *Brokers) Run(ctx context.Context) error {
	d.busy = map[cloud.AppRef]bool{}
	defer d.all.Wait()
	view := d.Views.View()
	for {
		wait := cloud.Never
		for app := range view.State.Services("") {
			b := app.Service.Brokered
			switch now := d.Now(); {
			case b == nil:
			case b.Task != nil:
				d.begin(ctx, app.AppRef)
				wait = min(wait, busyBroker)
			case app.Service.Deleted != nil:
				if end := app.Service.Deleted.Add(cloud.DeletedFor); now.After(end) {
					d.expire(ctx, app.AppRef)
					wait = min(wait, busyBroker)
				} else {
					wait = min(wait, cloud.Until(end, now)+time.Second)
				}
			}
		}
		var err error
		if view, err = cloud.ChangedWithin(ctx, d.Views, view, wait); err != nil {
			return nil
		}
	}
}

func (d *Brokers) expire(ctx context.Context, ref cloud.AppRef) {
	err := d.Writer.Write(ctx, "purge-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
		return s.ExpireBrokered(ref, cloud.Stamp{At: d.Now()}), nil
	})
	if err != nil && ctx.Err() == nil {
		d.Log.Error("cannot remove a deleted service", "service", ref.String(), "err", err)
	}
}

// begin works on the task of a service beside all else, unless that goes on already.
func (d *Brokers) begin(ctx context.Context, ref cloud.AppRef) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[ref] {
		return
	}
	d.busy[ref] = true
	d.all.Go(func() {
		d.work(ctx, ref)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, ref)
	})
}

// work sends requests until the service has no task any more.
func (d *Brokers) work(ctx context.Context, ref cloud.AppRef) {
	for n := 0; ctx.Err() == nil; n++ {
		app, ok := d.Views.View().State.App(ref)
		if !ok || app.Service == nil || app.Service.Brokered == nil || app.Service.Brokered.Task == nil {
			return
		}
		wait, err := d.step(ctx, app)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("cannot write down what a broker has said", "service", ref.String(), "err", err)
			wait = retryAfter
		}
		if wait > 0 {
			d.sleep(ctx, app, pause(wait, n))
		}
	}
}

// sleep waits for a time, or until the task of a service is another one.
func (d *Brokers) sleep(ctx context.Context, app *cloud.App, wait time.Duration) {
	began := app.Service.Brokered.Task
	end := d.Now().Add(wait)
	for v := d.Views.View(); ; {
		now, ok := v.State.App(app.AppRef)
		if !ok || now.Service == nil || now.Service.Brokered == nil || now.Service.Brokered.Task == nil || !now.Service.Brokered.Task.Started.Equal(began.Started) {
			return
		}
		wait := end.Sub(d.Now())
		if wait <= 0 {
			return
		}
		var err error
		if v, err = cloud.ChangedWithin(ctx, d.Views, v, wait); err != nil {
			return
		}
	}
}

// pause is how long to wait after n requests: as long as the broker wants, or a little longer each time.
func pause(wait time.Duration, n int) time.Duration {
	if wait != again {
		return wait
	}
	return min(pollFirst<<min(n/2, 10), pollMost)
}

// again asks for the usual pause.
const again = time.Duration(1)
