package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

// Backups lists the backups of a service, the oldest first: those that micro knows, or for a folder those that it has.
func (c *Client) Backups(ctx context.Context, s cloud.AppRef, in string) ([]Backup, error) {
	return all[Backup](ctx, c, servicePath(s, "backups"), url.Values(values{}.set("in", in)))
}

// Backup backs a service up. The last event has the backup.
func (c *Client) Backup(ctx context.Context, s cloud.AppRef, n NewBackup) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, servicePath(s, "backups"), n)
}

// DeleteBackup deletes a backup.
func (c *Client) DeleteBackup(ctx context.Context, s cloud.AppRef, id cloud.BackupID) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, servicePath(s, "backups/"+url.PathEscape(string(id))), nil, nil)
}

// Restore replaces all data of a service by that of a backup.
func (c *Client) Restore(ctx context.Context, s cloud.AppRef, b BackupChoice) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, servicePath(s, "restore"), b)
}

// Drill restores a backup into a throw-away service, and checks the data there.
func (c *Client) Drill(ctx context.Context, s cloud.AppRef, b BackupChoice) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, servicePath(s, "drill"), b)
}

// Clone creates a service with the data that another one has now.
func (c *Client) Clone(ctx context.Context, s cloud.AppRef, r CloneRequest) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, servicePath(s, "clone"), r)
}

// ScheduleBackups has a service backed up by a schedule.
func (c *Client) ScheduleBackups(ctx context.Context, s cloud.AppRef, b BackupSchedule) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, servicePath(s, "schedule"), nil, b)
}

// EndSchedule ends the schedule of a service's backups.
func (c *Client) EndSchedule(ctx context.Context, s cloud.AppRef) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, servicePath(s, "schedule"), nil, nil)
}

// Upgrade backs a service up and has it run from a newer image. The last event has the release to wait for.
func (c *Client) Upgrade(ctx context.Context, s cloud.AppRef, up ServiceUpgrade) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, servicePath(s, "upgrade"), up)
}

// BackupPlaces lists the places for backups.
func (c *Client) BackupPlaces(ctx context.Context) ([]BackupPlace, error) {
	return all[BackupPlace](ctx, c, "/v1/backup-places", nil)
}

// AddBackupPlace adds a place for backups, which must be reached.
func (c *Client) AddBackupPlace(ctx context.Context, p NewBackupPlace) (Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, "/v1/backup-places", nil, p)
}

// RemoveBackupPlace forgets a place that has no backup.
func (c *Client) RemoveBackupPlace(ctx context.Context, name string) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, "/v1/backup-places/"+url.PathEscape(name), nil, nil)
}

// task yields the events of a task. It ends with the request.
func (c *Client) task(ctx context.Context, path string, body any) iter.Seq2[TaskEvent, error] {
	return func(yield func(TaskEvent, error) bool) {
		ended := false
		for e, err := range stream[TaskEvent](ctx, c, http.MethodPost, path, nil, body) {
			ended = ended || err != nil || e.Ended()
			if !yield(e, err) {
				return
			}
		}
		if !ended {
			yield(TaskEvent{}, cloud.Errorf(cloud.Unavailable, "the connection to the node was lost before the task had ended"))
		}
	}
}
