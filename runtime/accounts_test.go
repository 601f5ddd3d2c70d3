package runtime_test

import (
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

var db = cloud.AppRef{Group: cloud.DefaultGroup, App: "db"}

// bound makes a service db and pushes shop, bound to it.
func (w *world) bound(spec cloud.PushSpec) (account *cloud.Account) {
	w.t.Helper()
	changes, _, err := w.state.CreateService(cloud.NewService{
		App: db, Service: cloud.Service{Kind: "postgres", Variable: "DATABASE_URL", External: true}, Built: cloud.Built{Image: cloud.Image{Digest: "db"}},
		Spec: web(0),
	}, w.stamp())
	w.change(changes, err)
	w.after(time.Second)
	spec.Services = []cloud.Binding{{Service: "db"}}
	w.push("one", spec)
	w.after(time.Second)
	w.is("runs before the account is issued", w.runs(), "")
	w.is("seen before the account is issued", w.seen(), "")
	a := &cloud.Account{AppRef: db, Client: shop.App, N: 1, Created: w.stamp().At, Credentials: cloud.Credentials{URL: "postgres://one", Password: "one"}}
	w.change([]cloud.Change{cloud.Put(a)}, nil)
	w.after(time.Second)
	return a
}

func (w *world) made(a *cloud.Account) {
	next := *a
	next.Made = true
	w.change([]cloud.Change{cloud.Put(&next)}, nil)
	w.after(time.Second)
}

// TestProgramsWaitForAccounts checks that containers are made while a service makes their accounts, that no program starts
// before, and that as many as wait keep no other app from starting.
func TestProgramsWaitForAccounts(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a := w.bound(web(9))
		if n := strings.Count(w.seen(), "starting"); n != 9 {
			t.Fatalf("%d instances wait: %s", n, w.seen())
		}
		for i := range w.snapshots.View().Instances.All() {
			w.is("reason", i.Reason, "waits for its account at service db")
		}
		w.is("runs without an account", w.runs(), "")
		other := cloud.AppRef{Group: cloud.DefaultGroup, App: "other"}
		changes, _, err := w.state.Push(cloud.Push{App: other, Spec: web(1), Built: cloud.Built{Image: cloud.Image{Digest: "two"}}}, w.stamp())
		w.change(changes, err)
		w.after(time.Second)
		w.is("runs beside those that wait", w.runs(), "web.0@r1")
		w.made(a)
		if n := strings.Count(w.seen(), "ready"); n != 10 || w.app().Current != 1 {
			t.Errorf("%d are ready: %s", n, w.seen())
		}
		for id, c := range w.driver.Running() {
			if strings.HasPrefix(id, "shop") && !strings.Contains(strings.Join(c.Secrets, " "), "DATABASE_URL=postgres://one") {
				t.Errorf("%s has %v", id, c.Secrets)
			}
		}
	})
}

// TestReleaseIsGivenUpWhileItWaits checks that nothing is left of instances whose account is never made.
func TestReleaseIsGivenUpWhileItWaits(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.bound(web(2))
		w.change(w.state.Fail(shop.Release(1), cloud.Failure{At: time.Now(), Reason: "no account at service db"}), nil)
		w.after(time.Second)
		w.is("runs", w.runs(), "")
		w.is("seen", w.seen(), "")
		w.is("calls", calls(w, 0), "remove remove")
	})
}

// TestReplacedAccount checks that no program starts with the credentials of an account that was replaced while it waited.
func TestReplacedAccount(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a := w.bound(web(1))
		next := *a
		next.Created, next.Credentials.URL = a.Created.Add(time.Second), "postgres://two"
		w.made(&next)
		w.after(time.Minute)
		if len(w.driver.Running()) != 1 {
			t.Errorf("it runs %s", w.runs())
		}
		for id, c := range w.driver.Running() {
			if !strings.Contains(strings.Join(c.Secrets, " "), "DATABASE_URL=postgres://two") {
				t.Errorf("%s has %v", id, c.Secrets)
			}
		}
	})
}

// TestRestartWhileInstancesWait checks that instances whose accounts are made while micro is down start once.
func TestRestartWhileInstancesWait(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a := w.bound(web(2))
		w.end()
		next := *a
		next.Made = true
		w.state = w.state.Apply(w.state.Rev()+1, []cloud.Change{cloud.Put(&next)})
		w.restart()
		w.after(time.Second)
		w.is("runs", w.runs(), "web.0@r1 web.1@r1")
	})
}

// TestRecreateWaitsForAccounts checks that the release before runs on until the new one's account is made.
func TestRecreateWaitsForAccounts(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		spec := web(1)
		spec.Strategy = &cloud.Strategy{Kind: cloud.Recreate}
		w.made(w.bound(spec))
		w.is("runs", w.runs(), "web.0@r1")
		changes, _, err := w.state.ChangeBindings(shop.Release(0), cloud.BindingChange{Rotate: []cloud.AppName{"db"}}, "rotate", w.stamp())
		w.change(changes, err)
		second := &cloud.Account{AppRef: db, Client: shop.App, N: 2, Created: w.stamp().At}
		w.change([]cloud.Change{cloud.Put(second)}, nil)
		w.after(time.Minute)
		w.is("seen while the account is not made", w.seen(), "web.0@r1 ready")
		w.made(second)
		w.is("runs", w.runs(), "web.0@r2")
	})
}
