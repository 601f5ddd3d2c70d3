package leader

import (
	"context"
	"log/slog"
	"time"
)

// Copier copies the store, unless the newest copy has all that it has.
type Copier interface {
	Backup(label string) (file string, err error)
}

// backupEvery is how often the store is copied.
const backupEvery = 24 * time.Hour

// Backups copies the store soon after a leader begins to lead, and then once a day. It needs no note of that: a
// copy that exists is not made again.
type Backups struct {
	Store Copier
	Log   *slog.Logger
}

// Name implements Duty.
func (*Backups) Name() string { return "backups" }

// Run implements Duty.
func (b *Backups) Run(ctx context.Context) error {
	for wait := tidyAfter; ; wait = backupEvery {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		if _, err := b.Store.Backup(""); err != nil {
			b.Log.Error("cannot copy the store", "err", err)
		}
	}
}
