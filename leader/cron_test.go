package leader

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
)

// notes are a leader's notes in memory.
type notes struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (n *notes) Load(prefix string) (map[string][]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := map[string][]byte{}
	for k, v := range n.all {
		if strings.HasPrefix(k, prefix) {
			found[k] = v
		}
	}
	return found, nil
}

func (n *notes) Save(values map[string][]byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.Copy(n.all, values)
	return nil
}

func (n *notes) Forget(keys ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range keys {
		delete(n.all, k)
	}
	return nil
}

// clockwork is a cron with an app whose jobs take as long as they say.
type clockwork struct {
	*testing.T
	snapshots *cloud.Cell
	local     *notes
	mu        sync.Mutex
	said      []string
	ran       []string // when each run began
}

func (w *clockwork) start() (stop func()) {
	c := NewCron(CronConfig{
		Views: w.snapshots, Notes: w.local, Jobs: w, Events: w, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().UTC() },
	})
	ctx, cancel := context.WithCancel(w.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Run(ctx); err != nil {
			w.Error(err)
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// RunJob implements Jobs.
func (w *clockwork) RunJob(ctx context.Context, _ cloud.ReleaseRef, j cloud.Job) (cloud.Exit, error) {
	w.mu.Lock()
	w.ran = append(w.ran, time.Now().UTC().Format("15:04"))
	w.mu.Unlock()
	d, err := time.ParseDuration(j.Command)
	if err != nil {
		return cloud.Exit{Code: 3}, nil
	}
	select {
	case <-time.After(d):
		return cloud.Exit{}, nil
	case <-ctx.Done():
		return cloud.Exit{Code: 137}, ctx.Err()
	}
}

// Note implements Events.
func (w *clockwork) Note(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, strings.TrimPrefix(e.Kind, "cron."))
}

func (w *clockwork) app(stopped bool, jobs ...cloud.Job) {
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	s := w.snapshots.View().State
	w.snapshots.SetState(s.Apply(s.Rev()+1, []cloud.Change{
		cloud.Put(&cloud.App{AppRef: shop, Current: 1, Last: 1}),
		cloud.Put(&cloud.Release{ReleaseRef: shop.Release(1), Up: true, Stopped: stopped, Spec: cloud.Spec{Cron: jobs}}),
	}))
}

func (w *clockwork) expect(ran, said string) {
	w.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := strings.Join(w.ran, " "); got != ran {
		w.Errorf("ran at %q, want %q", got, ran)
	}
	if got := strings.Join(w.said, " "); got != said {
		w.Errorf("said %q, want %q", got, said)
	}
	w.ran, w.said = nil, nil
}

// The clock was set back after a job had run: by an hour, and the times that come again are passed over;
// by more, and they count.
func TestCronAfterTheClockWasSetBack(t *testing.T) {
	for by, ran := range map[time.Duration]string{time.Hour: "01:10", 2 * time.Hour: "00:10 00:20"} {
		synctest.Test(t, func(t *testing.T) {
			w := &clockwork{T: t, snapshots: cloud.NewCell(), local: &notes{all: map[string][]byte{}}}
			w.app(false, cloud.Job{Command: "1m", Schedule: "*/10 * * * *"})
			w.start()()
			keys := slices.Collect(maps.Keys(w.local.all))
			if len(keys) != 1 {
				t.Fatal(keys)
			}
			last, err := json.Marshal(job{Last: time.Now().Add(by)})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.local.Save(map[string][]byte{keys[0]: last}); err != nil {
				t.Fatal(err)
			}
			stop := w.start()
			defer stop()
			runs := strings.Fields(ran)
			end, err := time.Parse("15:04", runs[len(runs)-1])
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(end.Hour())*time.Hour + time.Duration(end.Minute()+5)*time.Minute)
			w.expect(ran, strings.TrimSpace(strings.Repeat("done ", len(runs))))
		})
	}
}

func TestCron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which begins at midnight
		w := &clockwork{T: t, snapshots: cloud.NewCell(), local: &notes{all: map[string][]byte{}}}
		stop := w.start()
		w.app(false, cloud.Job{Command: "1m", Schedule: "*/10 * * * *"})
		time.Sleep(25 * time.Minute)
		w.expect("00:10 00:20", "done done")

		// One that takes longer than its pause is not begun a second time.
		w.app(false, cloud.Job{Command: "25m", Schedule: "*/10 * * * *"})
		time.Sleep(32 * time.Minute)
		w.expect("00:30", "skipped skipped done")

		// What fails says so; the next time it is begun again.
		w.app(false, cloud.Job{Command: "fail", Schedule: "@hourly"})
		time.Sleep(time.Hour)
		w.expect("01:00", "failed")

		// What was due while micro did not run is told, and not made up for.
		stop()
		time.Sleep(5 * time.Hour)
		stop = w.start()
		w.expect("", "missed")
		time.Sleep(time.Minute)
		w.expect("", "")

		// One that micro cut off is told, and does not run again.
		w.app(false, cloud.Job{Command: "90m", Schedule: "@hourly"})
		time.Sleep(time.Hour)
		w.expect("07:00", "")
		stop()
		stop = w.start()
		w.expect("", "interrupted")

		// Who stops the app stops its jobs, and starts them anew from then on.
		time.Sleep(time.Hour)
		w.expect("08:00", "")
		w.app(true, cloud.Job{Command: "90m", Schedule: "@hourly"})
		w.expect("", "")
		time.Sleep(3 * time.Hour)
		w.app(false, cloud.Job{Command: "90m", Schedule: "@hourly"})
		w.expect("", "")
		w.app(false)
		synctest.Wait()
		if left := slices.Collect(maps.Keys(w.local.all)); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		stop()
	})
}
