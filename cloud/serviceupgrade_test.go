package cloud

import (
	"testing"
	"time"
)

// An upgrade that fails leaves the version that runs, also if another one was begun meanwhile.
func TestUpgradeFails(t *testing.T) {
	at := Stamp{At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), By: "ann"}
	s := NewState()
	s = s.Apply(1, s.Init(at))
	do := func(changes []Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
	}
	db := AppRef{DefaultGroup, "db"}
	upgrade := func(version string) (n int) {
		t.Helper()
		changes, r, err := s.UpgradeService(db, version, Image{Digest: "sha256:" + version}, at)
		do(changes, err)
		return r.N
	}
	wants := func(version string) {
		t.Helper()
		if app, _ := s.App(db); app.Service.Version != version {
			t.Errorf("the version is %s, want %s", app.Service.Version, version)
		}
	}
	changes, _, err := s.CreateService(NewService{App: db, Service: Service{Kind: "postgres", Version: "15"}, Built: Built{Image: Image{Digest: "sha256:15"}}}, at)
	do(changes, err)
	do(s.FinishRollout(db, at.At, at), nil)
	do(s.Fail(db.Release(upgrade("15.1")), Failure{Reason: "it crashed"}), nil)
	wants("15")
	upgrade("15.2")
	do(s.FinishRollout(db, at.At, at), nil)
	wants("15.2")
	first := upgrade("15.3")
	second := upgrade("15.4")
	do(s.Fail(db.Release(first), Failure{Reason: "superseded"}), nil)
	do(s.Fail(db.Release(second), Failure{Reason: "it crashed"}), nil)
	wants("15.2")
}
