package handler

import (
	"context"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// fakeVolumeWorks has one backup of each volume.
type fakeVolumeWorks struct{}

func (fakeVolumeWorks) one(app cloud.AppRef, volume string) *cloud.Backup {
	return &cloud.Backup{AppRef: app, ID: "20261128T120000Z", Volume: volume}
}

func (f fakeVolumeWorks) Backups(_ context.Context, app cloud.AppRef, volume string, _ *string) ([]*cloud.Backup, error) {
	return []*cloud.Backup{f.one(app, volume)}, nil
}

func (f fakeVolumeWorks) FindBackup(_ context.Context, app cloud.AppRef, volume string, _ cloud.BackupID, _ *string) (*cloud.Backup, error) {
	return f.one(app, volume), nil
}

func (f fakeVolumeWorks) Backup(_ context.Context, _ cloud.Actor, app cloud.AppRef, volume, _ string, tell func(api.Progress)) (*cloud.Backup, error) {
	tell(api.Progress{ID: "a"})
	return f.one(app, volume), nil
}

func (fakeVolumeWorks) RemoveBackup(context.Context, cloud.Actor, cloud.AppRef, string, cloud.BackupID) error {
	return nil
}

func (fakeVolumeWorks) Restore(context.Context, cloud.Actor, cloud.AppRef, string, *cloud.Backup, func(api.Progress)) (cloud.Revision, error) {
	return 7, nil
}

func (fakeVolumeWorks) Move(context.Context, cloud.Actor, cloud.AppRef, cloud.NodeName, func(api.Progress)) (cloud.Revision, error) {
	return 7, nil
}

func (fakeVolumeWorks) Used(context.Context, cloud.AppRef) (map[string]int64, error) {
	return map[string]int64{"data": 4096}, nil
}
