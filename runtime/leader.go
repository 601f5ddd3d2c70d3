package runtime

import (
	"context"
	"log/slog"
	"time"

	"github.com/protoduction/micro/cloud"
)

// views is where the leader and the agent see what is.
type views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// writer changes the state; change may be run again after a conflict.
type writer interface {
	Write(ctx context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error
}

// tailer has the lines that a release logged last.
type tailer interface {
	Tail(release cloud.ReleaseRef, lines int) []string
}

// Leader moves roll-outs on: it writes what Advance decides. One node of a cloud runs it at a time.
type Leader struct {
	Views  views
	Writer writer
	Logs   tailer
	Log    *slog.Logger
	// Warm is how long a release that was current runs on.
	Warm time.Duration
	Now  func() time.Time
}

// DefaultWarm is how long a release runs on after a switch, for a quick way back.
const DefaultWarm = 10 * time.Minute

// failureLines is how many of the app's last lines are kept with a failure.
const failureLines = 20

// Run leads until ctx ends.
func (l *Leader) Run(ctx context.Context) error {
	view := l.Views.View()
	for ctx.Err() == nil {
		decisions, again := Advance(view, l.Now())
		wait := retryAfter
		if err := l.write(ctx, decisions); err != nil {
			l.Log.Error("cannot write what became of a release", "err", err)
		} else {
			wait = until(again, l.Now())
		}
		var err error
		if view, err = changedWithin(ctx, l.Views, view, wait); err != nil {
			return nil
		}
	}
	return nil
}

func (l *Leader) write(ctx context.Context, decisions []Decision) error {
	for _, d := range decisions {
		if d.Verdict == Failed {
			d.Failure.Lines = l.Logs.Tail(d.Release, failureLines)
		}
		err := l.Writer.Write(ctx, string(d.Verdict), d.Release.String(), func(s *cloud.State) ([]cloud.Change, error) {
			return d.apply(s, l.Warm, cloud.Stamp{At: l.Now(), By: "micro"}), nil
		})
		if err != nil {
			return err
		}
		l.Log.Info("release "+string(d.Verdict), "app", d.Release.AppRef.String(), "release", d.Release.N, "reason", d.Failure.Reason)
	}
	return nil
}

const (
	// retryAfter is the pause after a write or a start that failed.
	retryAfter = time.Second
	// never is as good as no time at all, and no trouble to a timer.
	never = 24 * time.Hour
	// glance is the longest wait for a time of day: no timer notices that the clock was set, be it by hand
	// or because the machine started with a wrong one.
	glance = 30 * time.Second
)

// until is how long to wait for t, zero being never. It may be over before t: then it is asked again.
func until(t, now time.Time) time.Duration {
	if t.IsZero() {
		return never
	}
	return min(max(t.Sub(now), 10*time.Millisecond), glance)
}

// changedWithin waits for another view, or until wait has passed.
func changedWithin(ctx context.Context, v views, old cloud.View, wait time.Duration) (cloud.View, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	view, err := v.Changed(waiting, old)
	if err != nil && ctx.Err() == nil {
		return view, nil
	}
	return view, err
}
