package handler

import (
	"cmp"
	"context"
	"slices"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// VolumeWorks backs volumes up, restores and moves them.
type VolumeWorks interface {
	// Backups returns the backups of a volume that are known, or for a place those that are found there.
	Backups(ctx context.Context, app cloud.AppRef, volume string, place *string) ([]*cloud.Backup, error)
	// FindBackup returns a backup by its ID, in a place unless that is nil.
	FindBackup(ctx context.Context, app cloud.AppRef, volume string, id cloud.BackupID, place *string) (*cloud.Backup, error)
	Backup(ctx context.Context, by cloud.Actor, app cloud.AppRef, volume, place string, tell func(api.Progress)) (*cloud.Backup, error)
	RemoveBackup(ctx context.Context, by cloud.Actor, app cloud.AppRef, volume string, id cloud.BackupID) error
	// Restore replaces all that a volume has by a backup, and returns the revision that lets the app run again.
	Restore(ctx context.Context, by cloud.Actor, app cloud.AppRef, volume string, b *cloud.Backup, tell func(api.Progress)) (cloud.Revision, error)
	// Move moves all volumes of an app, and returns the revision that lets the app run there.
	Move(ctx context.Context, by cloud.Actor, app cloud.AppRef, to cloud.NodeName, tell func(api.Progress)) (cloud.Revision, error)
	// Used returns how many bytes the volumes of an app take, by name.
	Used(ctx context.Context, app cloud.AppRef) (map[string]int64, error)
}

// VolumeInput names a volume.
type VolumeInput struct {
	AppInput
	Volume string `path:"volume" maxLength:"64" doc:"Name of the volume"`
}

type volumesInput struct {
	GroupInput
	App cloud.AppName `query:"app" maxLength:"64" doc:"Missing: all"`
}

func (in volumesInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.App}}
}

type volumeBackupsInput struct {
	VolumeInput
	In string `query:"in" maxLength:"1024" doc:"List what this place has; missing: the backups that micro knows"`
}

func (in volumeBackupsInput) demands(s *cloud.State) []need { return folderNeeds(s, in.In) }

type volumeBackupInput struct {
	VolumeInput
	Body api.NewBackup
}

func (in volumeBackupInput) demands(s *cloud.State) []need { return folderNeeds(s, in.Body.To) }

type volumeRestoreInput struct {
	VolumeInput
	Body api.BackupChoice
}

func (in volumeRestoreInput) demands(s *cloud.State) []need {
	needs := folderNeeds(s, in.Body.From)
	if in.Body.Of != "" { // its data can be read in the other app
		needs = append(needs, need{cloud.MayDeploy, cloud.Scope{Group: in.Group, App: in.Body.Of}})
	}
	return needs
}

type volumeMoveInput struct {
	AppInput
	Body api.VolumeMove
}

func (h *Handler) serveVolumes() {
	get(h, operation("volumes", "GET /v1/groups/{group}/volumes", "List the volumes of a group, or of an app, by app and name"),
		func(ctx context.Context, in *volumesInput) (api.List[api.VolumeInfo], error) {
			s, sees := h.Store.State(), h.sees(ctx)
			if err := mustGroup(s, in.Group); err != nil {
				return api.List[api.VolumeInfo]{}, err
			}
			var list []api.VolumeInfo
			if in.App != "" {
				app, err := s.MustApp(cloud.AppRef{Group: in.Group, App: in.App})
				if err != nil {
					return api.List[api.VolumeInfo]{}, err
				}
				list = h.volumesOf(ctx, s, app)
			} else {
				for app := range s.Apps(in.Group) {
					if sees(app.AppRef) {
						list = append(list, h.volumesOf(ctx, s, app)...)
					}
				}
			}
			return whole(list), nil
		})
	get(h, operation("volume-backups", "GET /v1/groups/{group}/apps/{app}/volumes/{volume}/backups", "List the backups of a volume, the oldest first"),
		func(ctx context.Context, in *volumeBackupsInput) (api.List[api.Backup], error) {
			all, err := h.VolumeWorks.Backups(ctx, in.ref(), in.Volume, optional(in.In))
			if err == nil && len(all) == 0 {
				_, _, err = h.Store.State().MustVolumes(in.ref(), in.Volume)
			}
			if err != nil {
				return api.List[api.Backup]{}, err
			}
			list := make([]api.Backup, len(all))
			for i, b := range all {
				list[i] = shownBackup(b)
			}
			return whole(list), nil
		})
	get(h, operation("delete-volume-backup", "DELETE /v1/groups/{group}/apps/{app}/volumes/{volume}/backups/{backup}", "Delete a backup of a volume"),
		func(ctx context.Context, in *struct {
			VolumeInput
			Backup cloud.BackupID `path:"backup" maxLength:"64"`
		}) (api.Changed, error) {
			err := h.VolumeWorks.RemoveBackup(ctx, requestOf(ctx).actor, in.ref(), in.Volume, in.Backup)
			return api.Changed{Revision: h.Store.State().Rev()}, err
		})
	tasks(h, operation("backup-volume", "POST /v1/groups/{group}/apps/{app}/volumes/{volume}/backups", "Back a volume up"),
		func(ctx context.Context, in *volumeBackupInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			b, err := h.VolumeWorks.Backup(ctx, requestOf(ctx).actor, in.ref(), in.Volume, in.Body.To, tell)
			if err != nil {
				return e, err
			}
			shown := shownBackup(b)
			return api.TaskEvent{Backup: &shown}, nil
		})
	tasks(h, operation("restore-volume", "POST /v1/groups/{group}/apps/{app}/volumes/{volume}/restore", "Replace all that a volume has by a backup; the app is stopped for a moment"),
		func(ctx context.Context, in *volumeRestoreInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			if _, _, err := h.Store.State().MustVolumes(in.ref(), in.Volume); err != nil {
				return e, err
			}
			of := cloud.AppRef{Group: in.Group, App: cmp.Or(in.Body.Of, in.App)}
			b, err := h.VolumeWorks.FindBackup(ctx, of, in.Volume, cmp.Or(in.Body.Backup, "latest"), optional(in.Body.From))
			if err != nil {
				return e, err
			}
			rev, err := h.VolumeWorks.Restore(ctx, requestOf(ctx).actor, in.ref(), in.Volume, b, tell)
			return h.runsAgain(in.ref(), rev), err
		})
	tasks(h, operation("move-volumes", "POST /v1/groups/{group}/apps/{app}/move", "Move an app with all its volumes to another node; it is stopped meanwhile"),
		func(ctx context.Context, in *volumeMoveInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			rev, err := h.VolumeWorks.Move(ctx, requestOf(ctx).actor, in.ref(), in.Body.To, tell)
			return h.runsAgain(in.ref(), rev), err
		})
}

// runsAgain is the end of a task after which an app runs again: its current release is to be waited for, if it runs.
func (h *Handler) runsAgain(ref cloud.AppRef, rev cloud.Revision) api.TaskEvent {
	changed := api.Changed{Revision: rev}
	if _, rel, err := h.Store.State().MustRelease(ref.Release(0)); err == nil && h.Store.State().Runs(rel) {
		changed.Release = rel.N
	}
	return api.TaskEvent{Changed: &changed}
}

// volumesOf returns the volumes of an app.
func (h *Handler) volumesOf(ctx context.Context, s *cloud.State, app *cloud.App) (list []api.VolumeInfo) {
	names := s.Volumes(app.AppRef)
	if len(names) == 0 {
		return nil
	}
	used, err := h.VolumeWorks.Used(ctx, app.AppRef)
	if err != nil {
		h.Log.Warn("cannot see what volumes take", "app", app.AppRef.String(), "err", err)
	}
	for _, name := range names {
		v := api.VolumeInfo{App: app.App, Group: app.Group, Name: name, Owner: "app", Shared: s.SharesVolume(app.AppRef, name)}
		if app.Service != nil {
			v.Owner = "service"
		}
		if home, ok := s.Home(app.AppRef); ok {
			v.Node = home.Node
		}
		if n, ok := used[name]; ok {
			v.Size = &n
		}
		if b, err := s.MustVolumeBackup(app.AppRef, name, "latest"); err == nil {
			v.Backup = &b.Taken
		}
		if w, ok := s.VolumeWork(app.AppRef); ok && slices.Contains([]string{"", name}, w.Volume) {
			v.Work = w.Reason()
		}
		list = append(list, v)
	}
	return list
}
