package services

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/task"
)

// Archives keep the files of backups.
type Archives interface {
	// Write writes the backup that b describes, with what fill writes, and completes b.
	Write(ctx context.Context, b *cloud.Backup, fill func(io.Writer) error) error
	// Read calls use with the data of a backup. It returns nil only if the backup is whole.
	Read(ctx context.Context, b *cloud.Backup, use func(io.Reader) error) error
	Remove(ctx context.Context, b *cloud.Backup) error
	// Find returns the backups of a service that a place has.
	Find(ctx context.Context, place string, r cloud.AppRef) ([]*cloud.Backup, error)
	// CheckPlace reports why a place cannot be used.
	CheckPlace(ctx context.Context, p *cloud.BackupPlace) error
}

// saved returns a service and its kind, which can be backed up.
func saved(s *cloud.State, ref cloud.AppRef) (*cloud.App, *Kind, error) {
	service, err := s.MustService(ref)
	if err != nil {
		return nil, nil, err
	}
	if b := service.Service.Brokered; b != nil {
		return nil, nil, cloud.Errorf(cloud.Invalid, "service %s is of broker %s, which looks after its data", ref, b.Broker)
	}
	kind, err := KindOf(s, service.Service.Kind)
	switch {
	case err != nil:
		return nil, nil, err
	case service.Service.External:
		return nil, nil, cloud.Errorf(cloud.Invalid, "service %s runs elsewhere, and is backed up there", ref)
	case kind.Backup == "":
		return nil, nil, cloud.Errorf(cloud.Invalid, "services of kind %s have no backup", kind.Name).WithHint("see micro service kinds: its file needs backup and restore")
	}
	return service, kind, nil
}

// CanBackup reports why a service cannot be backed up.
func (p *Provider) CanBackup(ref cloud.AppRef) error {
	_, _, err := saved(p.Store.State(), ref)
	return err
}

// Backup writes all data of a service to a new backup in a place.
func (p *Provider) Backup(ctx context.Context, by cloud.Actor, ref cloud.AppRef, place string, scheduled bool, tell Tell) (*cloud.Backup, error) {
	v := p.Views.View()
	service, kind, err := saved(v.State, ref)
	if err != nil {
		return nil, err
	}
	if place, err = v.State.CheckPlace(place); err != nil {
		return nil, err
	}
	b := &cloud.Backup{
		AppRef: ref, ID: v.State.NewBackupID(ref, p.Now()), Kind: kind.Name, Version: service.Service.Version, Place: place,
		Taken: p.Now(), By: by.Name, Scheduled: scheduled,
	}
	t := task.Begin(tell, p.Now, "backup", "back up "+ref.String(), 0)
	err = p.Archives.Write(ctx, b, func(w io.Writer) error {
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		return causeOf(ctx, run(ctx, p.Commands, v, service, call{command: kind.Backup, out: sink{t, w, stop}}))
	})
	if err == nil {
		err = p.recordBackup(ctx, by, b)
	}
	if err = t.Done(err); err != nil {
		return nil, notMade(ref, err)
	}
	return b, nil
}

func notMade(ref cloud.AppRef, err error) error {
	return cloud.Errorf(cloud.CodeOf(err), "no backup of %s was made: %w", ref, err)
}

// causeOf returns why a command was ended, where that is not its own error.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// recordBackup writes that there is a backup. If that fails, its file goes again.
func (p *Provider) recordBackup(ctx context.Context, by cloud.Actor, b *cloud.Backup) error {
	_, err := p.Store.Update(ctx, by, "backup-service", b.AppRef.String()+" "+string(b.ID), func(s *cloud.State) ([]cloud.Change, error) {
		if _, err := s.MustBackup(b.AppRef, b.ID); err == nil {
			return nil, cloud.Errorf(cloud.Conflict, "another backup of %s was begun at the same time", b.AppRef)
		}
		changes := []cloud.Change{cloud.Put(b)}
		if schedule, ok := s.BackupSchedule(b.AppRef); ok && b.Scheduled {
			changes = append(changes, cloud.Put(schedule.Done(b.Taken)))
		}
		return changes, nil
	})
	if err != nil && cloud.CodeOf(err) != cloud.Conflict { // of a conflict the file is the other's
		err = errors.Join(err, p.Archives.Remove(context.WithoutCancel(ctx), b))
	}
	return err
}

// RemoveBackup removes a backup's file, and then its record.
func (p *Provider) RemoveBackup(ctx context.Context, by cloud.Actor, ref cloud.AppRef, id cloud.BackupID) error {
	b, err := p.Store.State().MustBackup(ref, id)
	if err != nil {
		return err
	}
	if err := p.Archives.Remove(ctx, b); err != nil {
		return err
	}
	_, err = p.Store.Update(ctx, by, "delete-backup", ref.String()+" "+string(b.ID), func(*cloud.State) ([]cloud.Change, error) {
		return []cloud.Change{cloud.Delete(b)}, nil
	})
	return err
}

// FindBackup returns a backup by its ID: one that the state knows, or for a place one that is found there.
func (p *Provider) FindBackup(ctx context.Context, ref cloud.AppRef, id cloud.BackupID, place *string) (*cloud.Backup, error) {
	if place == nil {
		return p.Store.State().MustBackup(ref, id)
	}
	all, err := p.Backups(ctx, ref, place)
	if err != nil {
		return nil, err
	}
	for i, b := range all {
		if b.ID == id || id == "latest" && i == len(all)-1 {
			return b, nil
		}
	}
	return nil, cloud.Errorf(cloud.NotFound, "there is no backup %q of %s", string(id), ref).WithCommand("micro service list-backups %s", ref)
}

// Backups returns the backups of a service that the state knows, or for a place those that are found there.
func (p *Provider) Backups(ctx context.Context, ref cloud.AppRef, place *string) (all []*cloud.Backup, err error) {
	if place != nil {
		name, err := p.Store.State().CheckPlace(*place)
		if err != nil {
			return nil, err
		}
		return p.Archives.Find(ctx, name, ref)
	}
	for b := range p.Store.State().Backups(ref) {
		all = append(all, b)
	}
	return all, nil
}

// fits reports whether a service can be filled with a backup.
func fits(b *cloud.Backup, service *cloud.App) error {
	switch {
	case b.Volume != "":
		return cloud.Errorf(cloud.Invalid, "backup %s is of volume %s", b.ID, b.Volume)
	case b.Kind != service.Service.Kind:
		return cloud.Errorf(cloud.Invalid, "backup %s is of kind %s, and service %s of kind %s", b.ID, b.Kind, service.AppRef, service.Service.Kind)
	case major(b.Version) > major(service.Service.Version):
		return cloud.Errorf(cloud.Invalid, "backup %s is of %s %s, and service %s is %s: an older version cannot read it", b.ID, b.Kind, b.Version, service.AppRef, service.Service.Version).
			WithCommand("micro service create %s NAME --version %s", b.Kind, b.Version)
	}
	return nil
}

// major is the number before the first dot of a version, 0 where there is none.
func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return n
}

// Restore replaces all data of a service by that of a backup. The whole backup is checked before anything is changed.
func (p *Provider) Restore(ctx context.Context, ref cloud.AppRef, b *cloud.Backup, tell Tell) error {
	v := p.Views.View()
	service, kind, err := saved(v.State, ref)
	if err != nil {
		return err
	}
	if err := fits(b, service); err != nil {
		return err
	}
	if _, ok := instanceOf(v, service); !ok {
		return notReady(service)
	}
	if err := p.checkBackup(ctx, b, tell); err != nil {
		return cloud.Errorf(cloud.CodeOf(err), "nothing of %s was changed: %w", ref, err)
	}
	if err := p.fill(ctx, service, kind, b, tell); err != nil {
		state := "its data may be partly replaced: restore it again"
		if kind.Atomic {
			state = "its data is as it was"
		}
		return cloud.Errorf(cloud.CodeOf(err), "%s was not restored, and %s: %w", ref, state, err)
	}
	return nil
}

// checkBackup reads a whole backup.
func (p *Provider) checkBackup(ctx context.Context, b *cloud.Backup, tell Tell) error {
	t := task.Begin(tell, p.Now, "check", "check backup "+string(b.ID), b.Data)
	return t.Done(p.Archives.Read(ctx, b, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, t.Read(r))
		return err
	}))
}

// fill runs a kind's restore command with a backup's data.
func (p *Provider) fill(ctx context.Context, service *cloud.App, kind *Kind, b *cloud.Backup, tell Tell) error {
	t := task.Begin(tell, p.Now, "restore", "restore "+service.AppRef.String(), b.Data)
	return t.Done(p.Archives.Read(ctx, b, func(r io.Reader) error {
		return p.restore(ctx, service, kind, t.Read(r))
	}))
}

// restore runs a kind's restore command with data. The command never takes the end of a failing source for the end of the
// data.
func (p *Provider) restore(ctx context.Context, service *cloud.App, kind *Kind, data io.Reader) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	gone := make(chan struct{})
	defer close(gone)
	return causeOf(ctx, run(ctx, p.Commands, p.Views.View(), service, call{command: kind.Restore, in: source{data, stop, gone}}))
}

// discardTell is for tasks that nobody follows.
func discardTell(api.Progress) {}

// CheckPlace reports why a place for backups cannot be used.
func (p *Provider) CheckPlace(ctx context.Context, place *cloud.BackupPlace) error {
	return p.Archives.CheckPlace(ctx, place)
}
