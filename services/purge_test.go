package services

import (
	"slices"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// A service that was deleted is kept for a week, and not longer.
func TestExpired(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(ago time.Duration) *time.Time { d := now.Add(-ago); return &d }
	s := cloud.NewState()
	var changes []cloud.Change
	for name, deleted := range map[cloud.AppName]*time.Time{"used": nil, "young": at(6 * 24 * time.Hour), "old": at(8 * 24 * time.Hour)} {
		changes = append(changes, cloud.Put(&cloud.App{AppRef: cloud.AppRef{Group: "default", App: name}, Service: &cloud.Service{Kind: "postgres", Deleted: deleted}}))
	}
	s = s.Apply(1, changes)
	got := Expired(s, now)
	if want := []cloud.AppRef{{Group: "default", App: "old"}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if s = s.Apply(2, s.PurgeService(got[0])); len(Expired(s, now)) > 0 {
		t.Error("it is still there")
	}
	if s.PurgeService(cloud.AppRef{Group: "default", App: "used"}) != nil {
		t.Error("a service that is in use would be removed")
	}
}
