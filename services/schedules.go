package services

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Events tells people what happened.
type Events interface {
	Add(events ...api.Event)
}

// Schedules is the duty that makes scheduled backups, and deletes those beyond what their schedule keeps. What was made, and
// what failed, is in the state: the next leader goes on from there.
type Schedules struct {
	Views    Views
	Provider *Provider
	Events   Events
	Log      *slog.Logger
	Now      func() time.Time

	mu   sync.Mutex
	busy map[cloud.AppRef]bool
	all  sync.WaitGroup
}

// backupsAtOnce is how many scheduled backups are made at a time.
const backupsAtOnce = 2

// Name implements leader.Duty.
func (*Schedules) Name() string { return "scheduled backups" }

// Run implements leader.Duty.
func (d *Schedules) Run(ctx context.Context) error {
	d.busy = map[cloud.AppRef]bool{}
	defer d.all.Wait()
	places := make(chan struct{}, backupsAtOnce)
	view := d.Views.View()
	for {
		wait := cloud.Never
		for b := range view.State.BackupSchedules() {
			now := d.Now()
			due := b.Due(now)
			switch _, err := view.State.MustService(b.AppRef); {
			case err != nil: // it is deleted, and may come back
			case due.After(now):
				wait = min(wait, cloud.Until(due, now))
			case !d.begin(ctx, b, places):
				wait = min(wait, busyCheck)
			}
		}
		var err error
		if view, err = cloud.ChangedWithin(ctx, d.Views, view, wait); err != nil {
			return nil
		}
	}
}

// busyCheck is how soon to look again for services that are being backed up when they are due again.
const busyCheck = 10 * time.Second

// begin makes a backup beside all else, unless one of the service is under way.
func (d *Schedules) begin(ctx context.Context, b *cloud.BackupSchedule, places chan struct{}) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[b.AppRef] {
		return false
	}
	d.busy[b.AppRef] = true
	d.all.Go(func() {
		select {
		case places <- struct{}{}:
			d.make(ctx, b)
			<-places
		case <-ctx.Done():
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, b.AppRef)
	})
	return true
}

// micro is who makes scheduled backups.
var micro = cloud.Actor{Name: "micro", Source: "leader"}

// make makes a backup, and says how that went.
func (d *Schedules) make(ctx context.Context, b *cloud.BackupSchedule) {
	made, err := d.Provider.Backup(ctx, micro, b.AppRef, b.To, true, discardTell)
	switch {
	case ctx.Err() != nil:
		return // the next leader makes it
	case err != nil:
		d.Log.Error("a scheduled backup failed", "service", b.AppRef.String(), "err", err)
		d.note(b, "failed", "the scheduled backup failed: %v", err)
		d.fail(ctx, b.AppRef, err)
		return
	}
	d.note(b, "done", "backup %s was made in %s", made.ID, time.Duration(made.Took).Round(time.Millisecond))
	for _, old := range d.Provider.Store.State().Outdated(b.AppRef, b.Keep) {
		if err := d.Provider.RemoveBackup(ctx, micro, old.AppRef, old.ID); err != nil && ctx.Err() == nil {
			d.Log.Warn("cannot delete an old backup", "service", old.AppRef.String(), "backup", string(old.ID), "err", err)
			d.note(b, "kept", "cannot delete the old backup %s: %v", old.ID, err)
		}
	}
}

func (d *Schedules) note(b *cloud.BackupSchedule, kind, format string, args ...any) {
	d.Events.Add(api.Event{Time: d.Now(), Group: b.Group, App: b.App, Kind: "backup." + kind, Object: b.AppRef.String(), Text: fmt.Sprintf(format, args...)})
}

// fail writes down that a backup failed. If even that fails, the backup is due at once, so a pause keeps it from being
// tried all the time.
func (d *Schedules) fail(ctx context.Context, ref cloud.AppRef, reason error) {
	_, err := d.Provider.Store.Update(ctx, micro, "backup-failed", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
		b, ok := s.BackupSchedule(ref)
		if !ok {
			return nil, nil
		}
		return []cloud.Change{cloud.Put(b.Fail(d.Now(), reason.Error()))}, nil
	})
	if err == nil {
		return
	}
	d.Log.Error("cannot write down that a backup failed", "service", ref.String(), "err", err)
	select {
	case <-ctx.Done():
	case <-time.After(busyCheck):
	}
}
