package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"github.com/protoduction/micro/cloud"
)

func volumePath(app cloud.AppRef, volume, rest string) string {
	return appPath(app, "volumes/"+url.PathEscape(volume)+rest)
}

// Volumes lists the volumes of a group, or of one app of it.
func (c *Client) Volumes(ctx context.Context, app cloud.AppRef) ([]VolumeInfo, error) {
	return all[VolumeInfo](ctx, c, "/v1/groups/"+url.PathEscape(string(app.Group))+"/volumes", url.Values(values{}.set("app", string(app.App))))
}

// VolumeBackups lists the backups of a volume, the oldest first: those that micro knows, or for a place those that it has.
func (c *Client) VolumeBackups(ctx context.Context, app cloud.AppRef, volume, in string) ([]Backup, error) {
	return all[Backup](ctx, c, volumePath(app, volume, "/backups"), url.Values(values{}.set("in", in)))
}

// BackupVolume backs a volume up. The last event has the backup.
func (c *Client) BackupVolume(ctx context.Context, app cloud.AppRef, volume string, n NewBackup) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, volumePath(app, volume, "/backups"), n)
}

// DeleteVolumeBackup deletes a backup of a volume.
func (c *Client) DeleteVolumeBackup(ctx context.Context, app cloud.AppRef, volume string, id cloud.BackupID) (Changed, error) {
	return call[Changed](ctx, c, http.MethodDelete, volumePath(app, volume, "/backups/"+url.PathEscape(string(id))), nil, nil)
}

// RestoreVolume replaces all that a volume has by a backup. The last event has the release to wait for.
func (c *Client) RestoreVolume(ctx context.Context, app cloud.AppRef, volume string, b BackupChoice) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, volumePath(app, volume, "/restore"), b)
}

// MoveVolumes moves all volumes of an app to another node. The last event has the release to wait for.
func (c *Client) MoveVolumes(ctx context.Context, app cloud.AppRef, m VolumeMove) iter.Seq2[TaskEvent, error] {
	return c.task(ctx, appPath(app, "move"), m)
}
