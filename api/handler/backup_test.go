package handler

import (
	"context"
	"strings"
	"testing"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// fakeBackups has one backup of each service, and tells of two steps of each task.
type fakeBackups struct{}

func (fakeBackups) one(s cloud.AppRef) *cloud.Backup {
	return &cloud.Backup{AppRef: s, ID: "20261128T120000Z", Kind: "postgres"}
}

func (f fakeBackups) Backups(_ context.Context, s cloud.AppRef, _ *string) ([]*cloud.Backup, error) {
	return []*cloud.Backup{f.one(s)}, nil
}

func (f fakeBackups) FindBackup(_ context.Context, s cloud.AppRef, _ cloud.BackupID, _ *string) (*cloud.Backup, error) {
	return f.one(s), nil
}

func (f fakeBackups) Backup(_ context.Context, _ cloud.Actor, s cloud.AppRef, _ string, _ bool, tell func(api.Progress)) (*cloud.Backup, error) {
	tell(api.Progress{ID: "a", Current: 1})
	tell(api.Progress{ID: "a", Current: 2})
	return f.one(s), nil
}

func (fakeBackups) Upgrade(_ context.Context, _ cloud.Actor, s cloud.AppRef, _ string, _ func(*cloud.State, []cloud.Change) error, _ func(api.Progress)) (cloud.ReleaseRef, error) {
	return s.Release(2), nil
}

func (fakeBackups) CheckPlace(context.Context, *cloud.BackupPlace) error { return nil }

func (fakeBackups) CanBackup(cloud.AppRef) error { return nil }

func (fakeBackups) RemoveBackup(context.Context, cloud.Actor, cloud.AppRef, cloud.BackupID) error {
	return nil
}

func (fakeBackups) Restore(_ context.Context, _ cloud.AppRef, _ *cloud.Backup, tell func(api.Progress)) error {
	tell(api.Progress{ID: "check"})
	return cloud.Errorf(cloud.Invalid, "nothing was changed: the backup is truncated")
}

func (fakeBackups) Clone(_ context.Context, _ cloud.Actor, s cloud.AppRef, name cloud.AppName, _ func(*cloud.State, []cloud.Change) error, _ func(api.Progress)) (cloud.ReleaseRef, error) {
	return cloud.AppRef{Group: s.Group, App: name}.Release(1), nil
}

func (fakeBackups) Drill(_ context.Context, _ cloud.Actor, _ cloud.AppRef, b *cloud.Backup, _ func(*cloud.State, []cloud.Change) error, _ func(api.Progress)) (*api.Drill, error) {
	return &api.Drill{Backup: b.ID}, nil
}

// fakeKey can be rotated.
type fakeKey struct{}

func (fakeKey) Keys() api.CloudKeys { return api.CloudKeys{Key: "age1old", Older: []string{}} }

func (fakeKey) Rotate(context.Context, cloud.Actor) (api.CloudKeys, error) {
	return api.CloudKeys{Key: "age1new", Older: []string{}}, nil
}

// TestTasks follows tasks that end well and badly, and refuses folders of the node to who may not write there.
func TestTasks(t *testing.T) {
	h, _ := newMatrix(t)
	admin, developer := uint32(0), uint32(0)
	for i, role := range cloud.Roles() {
		switch role {
		case cloud.RoleAdmin:
			admin = matrixGID(i)
		case cloud.RoleDeveloper:
			developer = matrixGID(i)
		}
	}
	path := "/v1/groups/own/services/testdb"
	code, out := ask(t, h, developer, call{"POST", path + "/backups", `{}`})
	if code != "" || strings.Count(out, `"progress"`) != 2 || !strings.Contains(out, `"id":"20261128T120000Z"`) {
		t.Errorf("%s %s", code, out)
	}
	if code, out = ask(t, h, developer, call{"POST", path + "/restore", `{}`}); code != "" || !strings.Contains(out, "event: error") || !strings.Contains(out, "the backup is truncated") {
		t.Errorf("%s %s", code, out)
	}
	// What an admin of the cloud has added may be used.
	for _, to := range []string{"nas", "/mnt/nas"} {
		if code, out := ask(t, h, developer, call{"POST", path + "/backups", `{"to":"` + to + `"}`}); code != "" {
			t.Errorf("to %s: %s %s", to, code, out)
		}
	}
	// Admins of a group are no admins of the node.
	for _, gid := range []uint32{developer, admin} {
		for _, c := range []call{{"POST", path + "/backups", `{"to":"/etc"}`}, {"POST", path + "/restore", `{"from":"/etc"}`}, {"GET", path + "/backups?in=/etc", ""}} {
			if code, _ := ask(t, h, gid, c); code != cloud.Denied {
				t.Errorf("%s %s: %q", c.path, c.body, code)
			}
		}
	}
}
