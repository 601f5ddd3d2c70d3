package handler

import (
	"cmp"
	"context"
	"iter"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// Backups saves the data of services, and restores it.
type Backups interface {
	// Backups returns the backups of a service that are known, or for a place those that are found there.
	Backups(ctx context.Context, s cloud.AppRef, place *string) ([]*cloud.Backup, error)
	// FindBackup returns a backup by its ID, in a place unless that is nil.
	FindBackup(ctx context.Context, s cloud.AppRef, id cloud.BackupID, place *string) (*cloud.Backup, error)
	Backup(ctx context.Context, by cloud.Actor, s cloud.AppRef, place string, scheduled bool, tell func(api.Progress)) (*cloud.Backup, error)
	RemoveBackup(ctx context.Context, by cloud.Actor, s cloud.AppRef, id cloud.BackupID) error
	// CanBackup reports why a service cannot be backed up.
	CanBackup(s cloud.AppRef) error
	// Restore replaces all data of a service by that of a backup.
	Restore(ctx context.Context, s cloud.AppRef, b *cloud.Backup, tell func(api.Progress)) error
	// Clone creates a service with another one's data, if check lets it.
	Clone(ctx context.Context, by cloud.Actor, s cloud.AppRef, name cloud.AppName, check func(*cloud.State, []cloud.Change) error, tell func(api.Progress)) (cloud.ReleaseRef, error)
	// Upgrade has a service run from a newer image, if check lets it. Its release is 0 if there is nothing to upgrade.
	Upgrade(ctx context.Context, by cloud.Actor, s cloud.AppRef, version string, check func(*cloud.State, []cloud.Change) error, tell func(api.Progress)) (cloud.ReleaseRef, error)
	// CheckPlace reports why a place cannot be used.
	CheckPlace(ctx context.Context, p *cloud.BackupPlace) error
	// Drill restores a backup into a throw-away service, if check lets it, and checks the data.
	Drill(ctx context.Context, by cloud.Actor, s cloud.AppRef, b *cloud.Backup, check func(*cloud.State, []cloud.Change) error, tell func(api.Progress)) (*api.Drill, error)
}

type backupInput struct {
	ServiceInput
	Body api.NewBackup
}

func (in backupInput) demands(s *cloud.State) []need { return folderNeeds(s, in.Body.To) }

type restoreInput struct {
	ServiceInput
	Body api.BackupChoice
}

func (in restoreInput) demands(s *cloud.State) []need {
	needs := folderNeeds(s, in.Body.From)
	if in.Body.Of != "" { // its data can be read in the other service
		needs = append(needs, need{cloud.MayDeploy, cloud.Scope{Group: in.Group, App: in.Body.Of}})
	}
	return needs
}

type scheduleInput struct {
	ServiceInput
	Body api.BackupSchedule
}

func (in scheduleInput) demands(s *cloud.State) []need { return folderNeeds(s, in.Body.To) }

type backupsInput struct {
	ServiceInput
	Paging
	In string `query:"in" maxLength:"1024" doc:"List what this folder has; missing: the backups that micro knows"`
}

func (in backupsInput) demands(s *cloud.State) []need { return folderNeeds(s, in.In) }

type upgradeInput struct {
	ServiceInput
	Body api.ServiceUpgrade
}

type cloneInput struct {
	ServiceInput
	Body api.CloneRequest
}

func (in cloneInput) scopes(*cloud.State) []cloud.Scope {
	return []cloud.Scope{{Group: in.Group, App: in.Service}, {Group: in.Group, App: in.Body.Name}}
}

// folderNeeds is what naming a folder of a node needs: whoever may, can read and write files there as root.
func folderNeeds(s *cloud.State, place string) []need {
	if !strings.HasPrefix(place, "/") {
		return nil
	}
	if _, err := s.MustBackupPlace(place); err == nil {
		return nil
	}
	return []need{{cloud.MayAdminister, cloud.Scope{}}}
}

// optional is nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (h *Handler) serveBackups() {
	get(h, operation("backups", "GET /v1/groups/{group}/services/{service}/backups", "List the backups of a service, the oldest first"),
		func(ctx context.Context, in *backupsInput) (api.List[api.Backup], error) {
			all, err := h.Backups.Backups(ctx, in.ref(), optional(in.In))
			if err != nil {
				return api.List[api.Backup]{}, err
			}
			if _, err := h.Store.State().MustService(in.ref()); err != nil && len(all) == 0 {
				return api.List[api.Backup]{}, err
			}
			list := make([]api.Backup, len(all))
			for i, b := range all {
				list[i] = shownBackup(b)
			}
			return whole(list), nil
		})
	get(h, operation("delete-backup", "DELETE /v1/groups/{group}/services/{service}/backups/{backup}", "Delete a backup"),
		func(ctx context.Context, in *struct {
			ServiceInput
			Backup cloud.BackupID `path:"backup" maxLength:"64"`
		}) (api.Changed, error) {
			err := h.Backups.RemoveBackup(ctx, requestOf(ctx).actor, in.ref(), in.Backup)
			return api.Changed{Revision: h.Store.State().Rev()}, err
		})
	tasks(h, operation("backup-service", "POST /v1/groups/{group}/services/{service}/backups", "Back a service up"),
		func(ctx context.Context, in *backupInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			b, err := h.Backups.Backup(ctx, requestOf(ctx).actor, in.ref(), in.Body.To, false, tell)
			if err != nil {
				return e, err
			}
			shown := shownBackup(b)
			return api.TaskEvent{Backup: &shown}, nil
		})
	tasks(h, operation("restore-service", "POST /v1/groups/{group}/services/{service}/restore", "Replace all data of a service by that of a backup"),
		func(ctx context.Context, in *restoreInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			b, err := h.chosen(ctx, in)
			if err != nil {
				return e, err
			}
			if err := h.record(ctx, "restore-service", in.ref().String()+" "+string(b.ID)); err != nil {
				return e, err
			}
			shown := shownBackup(b)
			return api.TaskEvent{Backup: &shown}, h.Backups.Restore(ctx, in.ref(), b, tell)
		})
	tasks(h, operation("drill-service", "POST /v1/groups/{group}/services/{service}/drill", "Restore a backup into a throw-away service, and check the data there"),
		func(ctx context.Context, in *restoreInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			b, err := h.chosen(ctx, in)
			if err != nil {
				return e, err
			}
			q := requestOf(ctx)
			d, err := h.Backups.Drill(ctx, q.actor, in.ref(), b, q.checked, tell)
			return api.TaskEvent{Drill: d}, err
		})
	tasks(h, operation("upgrade-service", "POST /v1/groups/{group}/services/{service}/upgrade", "Back a service up, and have it run from a newer image; wait for its release"),
		func(ctx context.Context, in *upgradeInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			q := requestOf(ctx)
			made, err := h.Backups.Upgrade(ctx, q.actor, in.ref(), in.Body.Version, q.checked, tell)
			return api.TaskEvent{Changed: &api.Changed{Release: made.N, Revision: h.Store.State().Rev()}}, err
		})
	tasks(h, operation("clone-service", "POST /v1/groups/{group}/services/{service}/clone", "Create a service with the data that another one has now"),
		func(ctx context.Context, in *cloneInput, tell func(api.Progress)) (e api.TaskEvent, err error) {
			q := requestOf(ctx)
			made, err := h.Backups.Clone(ctx, q.actor, in.ref(), in.Body.Name, q.checked, tell)
			return api.TaskEvent{Changed: &api.Changed{Release: made.N, Revision: h.Store.State().Rev()}}, err
		})
}

// serveSchedules answers what is about backups that are made by the clock.
func (h *Handler) serveSchedules() {
	get(h, operation("schedule-backups", "POST /v1/groups/{group}/services/{service}/schedule", "Have a service backed up by a schedule"),
		func(ctx context.Context, in *scheduleInput) (api.Changed, error) {
			n, at := 0, h.stamp(ctx)
			if err := h.Backups.CanBackup(in.ref()); err != nil {
				return api.Changed{}, err
			}
			return h.update(ctx, "schedule-backups", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.ScheduleBackups(cloud.BackupSchedule{AppRef: in.ref(), Cron: in.Body.Cron, Keep: in.Body.Keep, To: in.Body.To}, at)
			})
		})
	get(h, operation("end-schedule", "DELETE /v1/groups/{group}/services/{service}/schedule", "End the schedule of a service's backups, which stay"),
		func(ctx context.Context, in *ServiceInput) (api.Changed, error) {
			n := 0
			return h.update(ctx, "end-schedule", in.ref().String(), &n, func(s *cloud.State) ([]cloud.Change, error) {
				return s.EndSchedule(in.ref())
			})
		})
}

// showBackups adds to a service what is known of its backups.
func (h *Handler) showBackups(s *cloud.State, app *cloud.App, out *api.Service) {
	if newest, err := s.MustBackup(app.AppRef, "latest"); err == nil {
		out.Backup = &newest.Taken
	}
	if u := app.Service.Unfinished; u != nil {
		out.Fills = u.Of
	}
	b, ok := s.BackupSchedule(app.AppRef)
	if !ok {
		return
	}
	next := b.Due(h.Now())
	out.Schedule = &api.BackupSchedule{Cron: b.Cron, Keep: b.Keep, To: b.To, Next: &next}
	if !b.Last.IsZero() {
		out.Schedule.Last = &b.Last
	}
	if b.Failed != nil {
		out.Schedule.Failed = &b.Failed.Reason
	}
}

// servePlaces answers what is about places for backups.
func (h *Handler) servePlaces() {
	get(h, operation("backup-places", "GET /v1/backup-places", "List the places for backups"),
		func(context.Context, *struct{}) (api.List[api.BackupPlace], error) {
			var list []api.BackupPlace
			for p := range h.Store.State().BackupPlaces() {
				list = append(list, api.BackupPlace{Name: p.Name, Location: p.Location(), Endpoint: p.Endpoint, KeyID: p.KeyID, Created: p.Created, By: p.By})
			}
			return whole(list), nil
		})
	get(h, operation("add-backup-place", "POST /v1/backup-places", "Add a place for backups, which must be reached"),
		func(ctx context.Context, in *struct{ Body api.NewBackupPlace }) (api.Changed, error) {
			n, at := 0, h.stamp(ctx)
			p := cloud.BackupPlace{Name: in.Body.Name, Region: in.Body.Region, KeyID: in.Body.KeyID, Secret: in.Body.Secret}
			if err := p.ParseLocation(in.Body.Location); err != nil {
				return api.Changed{}, err
			}
			if p.Bucket != "" {
				p.Endpoint = cmp.Or(in.Body.Endpoint, cloud.DefaultEndpoint)
			}
			if _, err := h.Store.State().AddBackupPlace(p, at); err != nil {
				return api.Changed{}, err
			}
			if err := h.Backups.CheckPlace(ctx, &p); err != nil {
				return api.Changed{}, err
			}
			return h.update(ctx, "add-backup-place", p.Name, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.AddBackupPlace(p, at) })
		})
	get(h, operation("remove-backup-place", "DELETE /v1/backup-places/{place}", "Forget a place that has no backup"),
		func(ctx context.Context, in *struct {
			Place string `path:"place" maxLength:"64"`
		}) (api.Changed, error) {
			n := 0
			return h.update(ctx, "remove-backup-place", in.Place, &n, func(s *cloud.State) ([]cloud.Change, error) { return s.RemoveBackupPlace(in.Place) })
		})
}

// checked reports whether the caller is allowed changes.
func (q *request) checked(s *cloud.State, changes []cloud.Change) error {
	return cloud.Join(q.check(s), s.CheckQuota(changes))
}

// chosen returns the backup that a request names.
func (h *Handler) chosen(ctx context.Context, in *restoreInput) (*cloud.Backup, error) {
	if _, err := h.Store.State().MustService(in.ref()); err != nil {
		return nil, err
	}
	of := cloud.AppRef{Group: in.Group, App: cmp.Or(in.Body.Of, in.Service)}
	return h.Backups.FindBackup(ctx, of, cmp.Or(in.Body.Backup, "latest"), optional(in.Body.From))
}

func shownBackup(b *cloud.Backup) api.Backup {
	return api.Backup{
		ID: b.ID, Service: b.App, Volume: b.Volume, Kind: b.Kind, Version: b.Version, Place: b.Place, File: b.FileName(), Node: b.Node, Taken: b.Taken, Took: b.Took,
		Data: b.Data, Size: b.Size, Digest: b.Digest, By: b.By, Scheduled: b.Scheduled, Proven: b.Proven,
	}
}

// tasks registers an operation that takes long: events tell how far it is, and the last one has the result. The task
// ends with the request.
func tasks[I any](h *Handler, op huma.Operation, do func(ctx context.Context, in *I, tell func(api.Progress)) (api.TaskEvent, error)) {
	events(h, op, func(ctx context.Context, in *I) (iter.Seq2[api.TaskEvent, error], error) {
		return func(yield func(api.TaskEvent, error) bool) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			told := make(chan api.Progress)
			var last api.TaskEvent
			var err error
			go func() {
				defer close(told)
				last, err = do(ctx, in, func(p api.Progress) {
					select {
					case told <- p:
					case <-ctx.Done():
					}
				})
			}()
			reads := true
			for p := range told {
				if reads && !yield(api.TaskEvent{Progress: &p}, nil) {
					reads = false
					cancel()
				}
			}
			if reads {
				yield(last, err)
			}
		}, nil
	}, func(api.TaskEvent) string { return "" })
}
