package leader

import (
	"context"
	"log/slog"
	"time"

	"github.com/protoduction/micro/cloud"
)

// LastLines returns the lines that a release logged last.
type LastLines interface {
	Tail(release cloud.ReleaseRef, lines int) []string
}

// Rollouts moves roll-outs on: it writes what Advance decides. All that it knows is in the state.
type Rollouts struct {
	Views  Views
	Writer Writer
	Logs   LastLines
	Log    *slog.Logger
	// Warm is how long a release that was current runs on.
	Warm time.Duration
	Now  func() time.Time
}

// DefaultWarm is how long a release runs on after a switch, for a quick way back.
const DefaultWarm = 10 * time.Minute

// failureLines is how many of the app's last lines are kept with a failure.
const failureLines = 20

// Name implements Duty.
func (*Rollouts) Name() string { return "roll-outs" }

// Run implements Duty.
func (r *Rollouts) Run(ctx context.Context) error {
	var work cloud.Worklist
	view := r.Views.View()
	for {
		now := r.Now()
		for _, app := range work.Next(view, now) {
			decisions, again := Advance(view, app, now)
			if err := r.write(ctx, decisions); err != nil {
				r.Log.Error("cannot write what became of a release", "err", err)
				again = now.Add(retryAfter)
			}
			work.Due(app, again)
		}
		var err error
		if view, err = cloud.ChangedWithin(ctx, r.Views, view, cloud.Until(work.Earliest(), r.Now())); err != nil {
			return nil
		}
	}
}

func (r *Rollouts) write(ctx context.Context, decisions []Decision) error {
	for _, d := range decisions {
		if d.Verdict == Failed {
			d.Failure.Lines = r.Logs.Tail(d.Release, failureLines)
		}
		err := r.Writer.Write(ctx, string(d.Verdict), d.Release.String(), func(s *cloud.State) ([]cloud.Change, error) {
			return d.Apply(s, r.Warm, cloud.Stamp{At: r.Now(), By: "micro"}), nil
		})
		if err != nil {
			return err
		}
		r.Log.Info("release "+string(d.Verdict), "app", d.Release.AppRef.String(), "release", d.Release.N, "reason", d.Failure.Reason)
	}
	return nil
}
