package leader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

const (
	cronPrefix = "cron/"
	// late is how much after its time a job is still begun; later it counts as missed.
	late = time.Minute
	// setBack is what a clock is set back by at most for the times that come again to be passed over. By
	// more, and they count: nobody wants to wait a year because a machine once started with a wrong clock.
	setBack = time.Hour
	// maxMissed bounds how many missed runs are counted.
	maxMissed = 1000
)

// Jobs runs a job of a release to its end.
type Jobs interface {
	RunJob(ctx context.Context, release cloud.ReleaseRef, job cloud.Job) (cloud.Exit, error)
}

// CronConfig is what Cron stands on.
type CronConfig struct {
	Views  Views
	Notes  Notes
	Jobs   Jobs
	Events Events
	Log    *slog.Logger
	Now    func() time.Time
}

// Cron runs the jobs of the apps' current releases. That one is begun is written down before it is, so
// that it is begun once at most, whatever is killed; what did not run is said, and not made up for.
type Cron struct {
	CronConfig

	mu   sync.Mutex // guards jobs and what they point to
	jobs map[string]*job
	busy sync.WaitGroup
}

// job is what is remembered of one.
type job struct {
	Last    time.Time        `json:"last"` // the time until which it has been looked after
	Running bool             `json:"running,omitempty"`
	Of      cloud.ReleaseRef `json:"of"`
	Command string           `json:"command"`

	cancel context.CancelFunc // of the run that is under way
}

// NewCron returns the duty; no job is begun until it runs.
func NewCron(cfg CronConfig) *Cron { return &Cron{CronConfig: cfg, jobs: map[string]*job{}} }

// Name implements Duty.
func (*Cron) Name() string { return "cron" }

// note tells of a job.
func (c *Cron) note(r cloud.ReleaseRef, kind, format string, args ...any) {
	c.Events.Note(Event{Group: r.Group, App: r.App, Release: r.N, Kind: "cron." + kind, Object: r.String(), Text: fmt.Sprintf(format, args...)})
}

// Run implements Duty. Jobs that are under way end with it.
func (c *Cron) Run(ctx context.Context) error {
	defer c.busy.Wait()
	if err := c.load(); err != nil {
		return err
	}
	view := c.Views.View()
	due := c.turn(ctx, view.State, c.Now())
	for {
		next, err := cloud.ChangedWithin(ctx, c.Views, view, cloud.Until(due, c.Now()))
		if err != nil {
			return nil
		}
		changed := next.State != view.State
		view = next
		if t := c.Now(); changed || !t.Before(due) {
			due = c.turn(ctx, view.State, t)
		}
	}
}

// load reads what an earlier process wrote down.
func (c *Cron) load() error {
	notes, err := c.Notes.Load(cronPrefix)
	if err != nil {
		return err
	}
	for key, note := range notes {
		j := new(job)
		if err := json.Unmarshal(note, j); err != nil {
			return cloud.Errorf(cloud.Internal, "cannot read what is known of job %s: %w", key, err)
		}
		if j.Running {
			c.note(j.Of, "interrupted", "job %q of %s was cut off when micro ended", j.Command, j.Of)
			j.Running = false
		}
		c.jobs[key] = j
	}
	return nil
}

// turn begins what is due, ends what nobody wants any more, and returns when to look again.
func (c *Cron) turn(ctx context.Context, s *cloud.State, t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := t.Add(cloud.LongestTimer)
	wanted := map[string]bool{}
	for app := range s.Apps("") {
		rel, ok := s.Release(app.Release(app.Current))
		if !ok || app.Current == 0 || !s.Runs(rel) {
			continue
		}
		for _, j := range rel.Spec.Cron {
			key := jobKey(app.AppRef, j)
			if wanted[key] {
				continue
			}
			wanted[key] = true
			if next := c.attend(ctx, key, rel.ReleaseRef, j, t); !next.IsZero() && next.Before(due) {
				due = t.Add(next.Sub(t)) // as t a point in time, whatever the clock says then
			}
		}
	}
	for key, j := range c.jobs {
		if wanted[key] {
			continue
		}
		if j.cancel != nil {
			j.cancel()
		}
		delete(c.jobs, key)
		if err := c.Notes.Forget(key); err != nil {
			c.Log.Error("cannot forget a job", "app", j.Of.AppRef.String(), "err", err)
		}
	}
	return due
}

// attend begins a job if it is due, and returns when it is due next. mu is held.
func (c *Cron) attend(ctx context.Context, key string, of cloud.ReleaseRef, spec cloud.Job, t time.Time) time.Time {
	schedule, err := cloud.ParseSchedule(spec.Schedule)
	if err != nil {
		return time.Time{} // of a state that this version would not have written
	}
	j, ok := c.jobs[key]
	if !ok {
		j = &job{Last: t, Of: of, Command: spec.Command}
		c.jobs[key] = j
		c.save(key, j)
	}
	if j.Last.Sub(t) > setBack {
		j.Last = t
		c.save(key, j)
	}
	first := schedule.Next(j.Last)
	if first.IsZero() || first.After(t) {
		return first
	}
	last, times := first, 0
	for next := first; !next.IsZero() && !next.After(t) && times < maxMissed; next = schedule.Next(next) {
		last, times = next, times+1
	}
	if times == maxMissed {
		last = t
	}
	begin := t.Sub(last) < late && times < maxMissed
	if begin {
		times--
	}
	if times > 0 {
		c.note(of, "missed", "job %q of %s was due %d times since %s, when micro did not run", spec.Command, of, times, first.Format(time.RFC3339))
	}
	j.Last = last
	switch {
	case begin && j.cancel != nil:
		c.note(of, "skipped", "job %q of %s was due, but the run before still goes on", spec.Command, of)
		c.save(key, j)
	case begin:
		j.Of, j.Running = of, true
		if c.save(key, j) {
			c.begin(ctx, key, j, spec)
		}
	default:
		c.save(key, j)
	}
	return schedule.Next(last)
}

// save writes down what is known of a job; false where that failed.
func (c *Cron) save(key string, j *job) bool {
	b, err := json.Marshal(j)
	if err == nil {
		err = c.Notes.Save(map[string][]byte{key: b})
	}
	if err != nil {
		c.Log.Error("cannot write down a job", "app", j.Of.AppRef.String(), "err", err)
	}
	return err == nil
}

// begin runs a job beside all else. mu is held.
func (c *Cron) begin(ctx context.Context, key string, j *job, spec cloud.Job) {
	ctx, j.cancel = context.WithCancel(ctx)
	of, cancel := j.Of, j.cancel
	c.Log.Info("job begins", "app", of.AppRef.String(), "release", of.N, "command", spec.Command)
	c.busy.Go(func() {
		began := c.Now()
		exit, err := c.Jobs.RunJob(ctx, of, spec)
		stopped := ctx.Err() != nil
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		j.cancel = nil
		if stopped {
			return // with micro, which says so when it is back; or with the app
		}
		took := c.Now().Sub(began).Round(time.Millisecond)
		switch {
		case err != nil:
			c.note(of, "failed", "job %q of %s: %v", spec.Command, of, err)
		case exit.OOM:
			c.note(of, "failed", "job %q of %s ran out of memory", spec.Command, of)
		case exit.Code != 0:
			c.note(of, "failed", "job %q of %s exited with code %d after %s", spec.Command, of, exit.Code, took)
		default:
			c.note(of, "done", "job %q of %s ended well after %s", spec.Command, of, took)
		}
		if j.Running = false; c.jobs[key] == j {
			c.save(key, j)
		}
	})
}

// jobKey is where what is known of a job is kept: it is the same job as long as nothing of it changes.
func jobKey(app cloud.AppRef, j cloud.Job) string {
	sum := sha256.Sum256([]byte(j.Schedule + "\x00" + j.Command))
	return fmt.Sprintf("%s%s/%s/%s", cronPrefix, app.Group, app.App, hex.EncodeToString(sum[:8]))
}
