package services

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// What is to be done about an app's accounts follows from what runs: an account is issued, made, ended and revoked, and
// kept as long as an instance may use it.
func TestPlan(t *testing.T) {
	at := cloud.Stamp{At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), By: "test"}
	s := cloud.NewState()
	s = s.Apply(1, s.Init(at))
	do := func(changes []cloud.Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
	}
	db, shop := cloud.AppRef{Group: "default", App: "db"}, cloud.AppRef{Group: "default", App: "shop"}
	image := cloud.Built{Image: cloud.Image{Digest: "sha256:1"}}
	changes, _, err := s.CreateService(cloud.NewService{App: db, Service: cloud.Service{Kind: "postgres", Variable: "DATABASE_URL"}, Built: image}, at)
	do(changes, err)
	do(s.FinishRollout(db, at.At, at), nil)
	changes, _, err = s.Push(cloud.Push{App: shop, Built: image, Spec: cloud.PushSpec{Services: []cloud.Binding{{Service: "db"}}}}, at)
	do(changes, err)

	instances := cloud.NewView().Instances
	f := func(after time.Duration, want string) {
		t.Helper()
		steps, _ := Plan(cloud.View{State: s, Instances: instances}, shop, at.At.Add(after))
		var got []string
		for _, step := range steps {
			got = append(got, fmt.Sprintf("%s %s %d %s", step.Do, step.Service.App, step.N, step.Reason))
		}
		slices.Sort(got)
		if have := strings.TrimSpace(strings.Join(got, "; ")); have != want {
			t.Errorf("after %s: %q, want %q", after, have, want)
		}
	}
	account := cloud.Account{AppRef: db, Client: "shop", N: 1}
	f(0, "issue db 1")
	do([]cloud.Change{cloud.Put(&account)}, nil)
	f(0, "") // the service is not ready
	f(patience, "fail db 1 service db is not ready")

	rel, _ := s.Release(db.Release(0))
	instances = instances.With(&cloud.Instance{
		ID: "db-1", Slot: cloud.Slot{ReleaseRef: rel.ReleaseRef, Process: cloud.Web}, Phase: cloud.InstanceReady, Addr: netip.MustParseAddrPort("10.0.0.2:5432"),
	})
	f(patience, "make db 1")
	account.Made = true
	do([]cloud.Change{cloud.Put(&account)}, nil)
	f(time.Hour, "")

	// Unbound, and an instance still runs: nothing ends under it.
	do(s.FinishRollout(shop, at.At, at), nil)
	changes, _, err = s.ChangeBindings(shop.Release(0), cloud.BindingChange{Unbind: []cloud.AppName{"db"}}, "unbind", at)
	do(changes, err)
	f(0, "")
	do(s.FinishRollout(shop, at.At, at), nil)
	running := &cloud.Instance{ID: "shop-1", Slot: cloud.Slot{ReleaseRef: shop.Release(1), Process: cloud.Web}, Phase: cloud.InstanceDraining}
	before := instances
	instances = instances.With(running)
	f(0, "")
	instances = before
	f(0, "end db 1")
	account.Ending = true
	do([]cloud.Change{cloud.Put(&account)}, nil)
	f(0, "revoke db 1")

	// Somebody goes back before it is gone: first it goes, then there is another.
	changes, _, err = s.Rollback(shop, 1, at)
	do(changes, err)
	f(0, "revoke db 1")
	do([]cloud.Change{cloud.Delete(&account)}, nil)
	f(0, "issue db 1")
}

// WithAccounts writes the account of a release together with the release, once.
func TestWithAccounts(t *testing.T) {
	w, shop := newWorld(t, nil)
	at := cloud.Stamp{At: time.Now(), By: "test"}
	change := WithAccounts(w.View, time.Now, func(s *cloud.State) ([]cloud.Change, error) {
		changes, _, err := s.ChangeBindings(shop.Release(1), cloud.BindingChange{Rotate: []cloud.AppName{"redis"}}, "rotate", at)
		return changes, err
	})
	if err := w.Write(t.Context(), "", "", func(s *cloud.State) ([]cloud.Change, error) { return s.FinishRollout(shop, at.At, at), nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), "", "", change); err != nil {
		t.Fatal(err)
	}
	got := ""
	for a := range w.View().State.AccountsFor(shop) {
		got += fmt.Sprintf("%s %d %s; ", a.App, a.N, a.Credentials.User)
		if a.Made || a.Credentials.Password == "" {
			t.Errorf("account %+v", a)
		}
	}
	if got != "postgres 1 shop_1; redis 2 shop_2; redis 1 shop_1; " && got != "postgres 1 shop_1; redis 1 shop_1; redis 2 shop_2; " {
		t.Errorf("accounts: %q", got)
	}
	rel, _ := w.View().State.Release(shop.Release(2))
	if !w.View().State.Issued(rel) || w.View().State.Unmet(rel) == "" {
		t.Error("the accounts of the new release are not issued, or are made")
	}
}
