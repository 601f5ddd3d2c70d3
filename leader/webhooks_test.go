package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
)

// receiver is what webhooks are sent to. It fails while down.
type receiver struct {
	mu   sync.Mutex
	down bool
	got  []string
}

func (r *receiver) Post(_ context.Context, w *cloud.Webhook, n cloud.Notice) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down && w.Name == "chat" {
		return errors.New("it answered 503")
	}
	r.got = append(r.got, w.Name+": "+n.Text)
	return nil
}

func (r *receiver) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func (r *receiver) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// hooked is a state with an app, to whose releases something happens.
type hooked struct {
	cell  *cloud.Cell
	state *cloud.State
}

func newHooked(t *testing.T, hooks ...cloud.Webhook) *hooked {
	h := &hooked{cell: cloud.NewCell(), state: cloud.NewState()}
	h.put(&cloud.Group{Name: cloud.DefaultGroup}, &cloud.App{AppRef: webhookApp})
	for _, w := range hooks {
		changes, err := h.state.AddWebhook(w, cloud.Stamp{At: time.Now(), By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		h.apply(changes)
	}
	return h
}

var webhookApp = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}

func (h *hooked) put(objects ...cloud.Object) {
	var changes []cloud.Change
	for _, o := range objects {
		changes = append(changes, cloud.Put(o))
	}
	h.apply(changes)
}

func (h *hooked) apply(changes []cloud.Change) {
	h.state = h.state.Apply(h.state.Rev()+1, changes)
	h.cell.SetState(h.state)
}

// fail adds a release that failed at a time.
func (h *hooked) fail(n int, at time.Time) {
	h.put(&cloud.Release{ReleaseRef: webhookApp.Release(n), Failure: &cloud.Failure{At: at, Reason: fmt.Sprintf("reason %d", n)}})
}

// lead runs the duty until the returned function is called, or the test ends.
func (h *hooked) lead(t *testing.T, r *receiver, n Notes) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	d := NewWebhooks(WebhookConfig{Views: h.cell, Notes: n, Poster: r, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	go func() {
		defer close(done)
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return func() { cancel(); <-done }
}

func wantSent(t *testing.T, r *receiver, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// Each notice is sent once while all goes well, in order, by whoever leads; a receiver that is down gets it later, and
// holds up nobody else.
func TestWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHooked(t, cloud.Webhook{Group: cloud.DefaultGroup, Name: "chat", URL: "https://chat.example.com/x"})
		r, kept := &receiver{}, &notes{all: map[string][]byte{}}
		h.fail(1, time.Now().Add(-time.Second)) // before the webhook
		stop := h.lead(t, r, kept)
		wantSent(t, r)
		h.fail(2, time.Now())
		wantSent(t, r, "chat: shop@r2 failed: reason 2")
		stop()
		h.fail(3, time.Now())
		stop = h.lead(t, r, kept)
		wantSent(t, r, "chat: shop@r3 failed: reason 3")

		r.setDown(true)
		time.Sleep(time.Second)
		at := time.Now()
		h.fail(5, at.Add(time.Second))
		h.fail(4, at) // seen later, happened earlier
		changes, err := h.state.AddWebhook(cloud.Webhook{Group: cloud.DefaultGroup, Name: "log", URL: "https://log.example.com/x"}, cloud.Stamp{At: at, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		h.apply(changes)
		time.Sleep(10 * time.Second)
		wantSent(t, r, "log: shop@r4 failed: reason 4", "log: shop@r5 failed: reason 5")
		w, _ := h.state.Webhook(cloud.DefaultGroup, "chat")
		if d, err := LoadDelivery(kept, w); err != nil || d.Error != "it answered 503" {
			t.Errorf("delivery %+v, %v", d, err)
		}
		r.setDown(false)
		time.Sleep(lastRetry)
		wantSent(t, r, "chat: shop@r4 failed: reason 4", "chat: shop@r5 failed: reason 5")
		if d, err := LoadDelivery(kept, w); err != nil || d.Error != "" {
			t.Errorf("delivery %+v, %v", d, err)
		}

		// What nobody could be told of for a day is left out.
		r.setDown(true)
		h.fail(6, time.Now())
		time.Sleep(giveUpAfter + lastRetry)
		r.setDown(false)
		r.take()
		time.Sleep(lastRetry)
		wantSent(t, r)

		// A webhook that is removed leaves no note.
		changes, err = h.state.RemoveWebhook(cloud.DefaultGroup, "chat")
		if err != nil {
			t.Fatal(err)
		}
		h.apply(changes)
		stop()
		stop = h.lead(t, r, kept)
		synctest.Wait()
		stop()
		if d, err := LoadDelivery(kept, w); err != nil || !d.Last.IsZero() {
			t.Errorf("left: %+v, %v", d, err)
		}
	})
}
