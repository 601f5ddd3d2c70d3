package leader

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	webhookPrefix = "webhook/"
	// giveUpAfter is how long a notice is sent again; after that it is left out.
	giveUpAfter = 24 * time.Hour
	// remembered is how long the IDs of sent notices are kept. A notice may become visible later than a younger one.
	remembered = time.Hour
	// firstRetry and lastRetry are the pauses between attempts, which double.
	firstRetry, lastRetry = 2 * time.Second, 10 * time.Minute
)

// Poster sends a notice to a webhook.
type Poster interface {
	Post(ctx context.Context, w *cloud.Webhook, n cloud.Notice) error
}

// WebhookConfig has what Webhooks needs.
type WebhookConfig struct {
	Views  Views
	Notes  Notes
	Poster Poster
	Log    *slog.Logger
	Now    func() time.Time
}

// Webhooks sends notices to webhooks, each at least once, and the notices of a webhook in order of time. What has been sent
// is noted after each notice, so that the next process or leader continues there.
type Webhooks struct {
	WebhookConfig
	senders sync.WaitGroup
	mu      sync.Mutex // guards busy and retries
	busy    map[cloud.Key]bool
	retries map[cloud.Key]retry
}

type retry struct {
	pause time.Duration
	at    time.Time
}

// Delivery is what has been sent to a webhook, and how the last attempt ended.
type Delivery struct {
	Since time.Time            `json:"since"` // older notices are done
	Sent  map[string]time.Time `json:"sent"`  // times of the notices since then that have been sent, by ID
	Last  time.Time            `json:"last,omitzero"`
	Error string               `json:"error,omitempty"` // of the last attempt
}

// NewWebhooks returns the duty.
func NewWebhooks(cfg WebhookConfig) *Webhooks {
	return &Webhooks{WebhookConfig: cfg, busy: map[cloud.Key]bool{}, retries: map[cloud.Key]retry{}}
}

// Name implements Duty.
func (d *Webhooks) Name() string { return "webhooks" }

// Run sends notices until ctx ends.
func (d *Webhooks) Run(ctx context.Context) error {
	defer d.senders.Wait()
	view := d.Views.View()
	if err := d.forgetRemoved(view.State); err != nil {
		d.Log.Warn("cannot remove notes of webhooks", "err", err)
	}
	for {
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if d.send(ctx, view.State) {
			waiting, cancel = context.WithTimeout(ctx, time.Second)
		}
		next, err := d.Views.Changed(waiting, view)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			view = next
		}
	}
}

// send starts a sender for each webhook that has none and is not waiting for its next attempt. It reports whether there are
// webhooks.
func (d *Webhooks) send(ctx context.Context, s *cloud.State) (found bool) {
	for w := range s.Webhooks("") {
		found = true
		key := w.Key()
		d.mu.Lock()
		idle := !d.busy[key] && !d.Now().Before(d.retries[key].at)
		if idle {
			d.busy[key] = true
		}
		d.mu.Unlock()
		if !idle {
			continue
		}
		d.senders.Go(func() {
			err := d.sendAll(ctx, s, w)
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.busy, key)
			if err == nil {
				delete(d.retries, key)
				return
			}
			pause := min(max(2*d.retries[key].pause, firstRetry), lastRetry)
			d.retries[key] = retry{pause, d.Now().Add(pause)}
			d.Log.Warn("cannot send to a webhook", "webhook", w.Name, "group", w.Group, "retry", pause, "err", err)
		})
	}
	return found
}

// forgetRemoved removes the notes of webhooks that have been removed.
func (d *Webhooks) forgetRemoved(s *cloud.State) error {
	kept, err := d.Notes.Load(webhookPrefix)
	if err != nil {
		return err
	}
	for w := range s.Webhooks("") {
		delete(kept, webhookNote(w))
	}
	return d.Notes.Forget(slices.Collect(maps.Keys(kept))...)
}

// sendAll sends the notices that a webhook has not got yet.
func (d *Webhooks) sendAll(ctx context.Context, s *cloud.State, w *cloud.Webhook) error {
	done, err := d.load(w)
	if err != nil {
		return err
	}
	for _, n := range pending(s, w, done, d.Now()) {
		err := d.Poster.Post(ctx, w, n)
		if ctx.Err() != nil {
			return nil
		}
		done = done.after(n, d.Now(), err)
		if serr := d.save(w, done); serr != nil {
			return serr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pending returns the notices that a webhook has still to get, the oldest first.
func pending(s *cloud.State, w *cloud.Webhook, done Delivery, now time.Time) []cloud.Notice {
	since := done.Since
	for _, t := range []time.Time{w.Created, now.Add(-giveUpAfter)} {
		if t.After(since) {
			since = t
		}
	}
	var all []cloud.Notice
	for app := range s.Apps(w.Group) {
		for _, n := range s.Notices(app.AppRef, since) {
			if _, sent := done.Sent[n.ID]; !sent && w.Tells(n) {
				all = append(all, n)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b cloud.Notice) int { return a.Time.Compare(b.Time) })
	return all
}

// after returns the delivery after an attempt to send a notice.
func (d Delivery) after(n cloud.Notice, now time.Time, err error) Delivery {
	next := Delivery{Since: d.Since, Sent: map[string]time.Time{}, Last: now}
	if err != nil {
		next.Sent, next.Error = d.Sent, err.Error()
		return next
	}
	if oldest := n.Time.Add(-remembered); oldest.After(next.Since) {
		next.Since = oldest
	}
	for id, t := range d.Sent {
		if !t.Before(next.Since) {
			next.Sent[id] = t
		}
	}
	next.Sent[n.ID] = n.Time
	return next
}

func webhookNote(w *cloud.Webhook) string {
	// A webhook of the same name that is made later is another one.
	return webhookPrefix + string(w.Group) + "/" + w.Name + "/" + w.Created.UTC().Format(time.RFC3339Nano)
}

// LoadDelivery returns what has been sent to a webhook.
func LoadDelivery(notes Notes, w *cloud.Webhook) (d Delivery, err error) {
	key := webhookNote(w)
	kept, err := notes.Load(key)
	if err != nil || kept[key] == nil {
		return d, err
	}
	return d, json.Unmarshal(kept[key], &d)
}

func (d *Webhooks) load(w *cloud.Webhook) (Delivery, error) { return LoadDelivery(d.Notes, w) }

func (d *Webhooks) save(w *cloud.Webhook, done Delivery) error {
	text, err := json.Marshal(done)
	if err != nil {
		return err
	}
	return d.Notes.Save(map[string][]byte{webhookNote(w): text})
}
