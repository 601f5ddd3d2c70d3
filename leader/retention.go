package leader

import (
	"context"
	"log/slog"
	"time"

	"github.com/protoduction/micro/cloud"
)

// tidyAfter is how long after a change duties that are in no hurry look at the state, and tidyEvery is how often
// they look although nothing has changed.
const (
	tidyAfter = 15 * time.Second
	tidyEvery = time.Hour
)

// Retention gives up old releases: it writes which of them nobody can go back to any more. Each node then removes
// their images.
type Retention struct {
	Views  Views
	Writer Writer
	Log    *slog.Logger
}

// Name implements Duty.
func (*Retention) Name() string { return "retention" }

// Run implements Duty.
func (r *Retention) Run(ctx context.Context) error {
	view := r.Views.View()
	for due := time.Now().Add(tidyAfter); ; {
		next, err := cloud.ChangedWithin(ctx, r.Views, view, time.Until(due))
		switch {
		case err != nil:
			return nil
		case next != view:
			if soon := time.Now().Add(tidyAfter); next.State != view.State && soon.Before(due) {
				due = soon
			}
			view = next
			continue
		}
		if len(view.State.Prune()) > 0 {
			if err := r.Prune(ctx); err != nil {
				r.Log.Warn("cannot give up old releases", "err", err)
			}
		}
		due = time.Now().Add(tidyEvery)
	}
}

// Prune gives up old releases now.
func (r *Retention) Prune(ctx context.Context) error {
	for more := true; more; {
		err := r.Writer.Write(ctx, "prune", "releases", func(s *cloud.State) ([]cloud.Change, error) {
			changes := s.Prune()
			more = len(changes) == cloud.SweepLimit
			return changes, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
