package services

import (
	"context"
	"errors"
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

// volumes is a node's data, which may be away.
type volumes struct {
	away    error
	dropped []cloud.AppRef
}

func (v *volumes) Drop(_ context.Context, app cloud.AppRef) error {
	if v.away == nil {
		v.dropped = append(v.dropped, app)
	}
	return v.away
}

// While the node with its data is away, a service whose time is over stays known. It can't be brought back, since nobody
// knows whether its data is still there.
func TestPurgeWaitsForTheData(t *testing.T) {
	w, _ := newWorld(t, nil)
	now, ref := time.Now(), cloud.AppRef{Group: "default", App: "old"}
	deleted := now.Add(-8 * 24 * time.Hour)
	w.SetState(w.View().State.Apply(9, []cloud.Change{
		cloud.Put(&cloud.App{AppRef: ref, Service: &cloud.Service{Kind: "postgres", Deleted: &deleted}}),
		cloud.Put(&cloud.Home{AppRef: ref, Node: "b"}),
	}))
	data := &volumes{away: errors.New("node b does not answer")}
	p := &Purge{Views: w, Writer: w, Volumes: data, Now: func() time.Time { return now }}
	if err := p.purge(t.Context(), ref); err == nil {
		t.Error("nobody has heard of the data that is left")
	}
	if _, _, err := w.View().State.UndeleteService(ref, cloud.Stamp{At: now}); cloud.CodeOf(err) != cloud.Conflict {
		t.Errorf("undelete: %v", err)
	}
	if got := Expired(w.View().State, now); !slices.Equal(got, []cloud.AppRef{ref}) {
		t.Errorf("%v are left to remove", got)
	}
	data.away = nil
	if err := p.purge(t.Context(), ref); err != nil || !slices.Equal(data.dropped, []cloud.AppRef{ref}) {
		t.Errorf("%v, %v dropped", err, data.dropped)
	}
	if _, ok := w.View().State.App(ref); ok {
		t.Error("it is still known")
	}
	if _, ok := w.View().State.Home(ref); ok {
		t.Error("a node still has its data")
	}
}
