package services

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services/broker"
	"github.com/protoduction/micro/services/broker/brokertest"
)

// brokered is a cloud with a service of a broker, and the leader's duties for it.
type brokered struct {
	*world
	t         *testing.T
	broker    *brokertest.Broker
	transport *brokertest.Transport
	cancel    context.CancelFunc
	ended     chan struct{}
}

var (
	sql  = cloud.AppRef{Group: "default", App: "sql"}
	shop = cloud.AppRef{Group: "default", App: "shop"}
)

type noEvents struct{}

func (noEvents) Add(...api.Event) {}

func newBrokered(t *testing.T, b *brokertest.Broker) *brokered {
	w := &brokered{world: &world{Cell: cloud.NewCell()}, t: t, broker: b, transport: &brokertest.Transport{Broker: b}}
	w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.Init(w.now()), nil })
	p := &Provider{HTTP: w.http()}
	known := cloud.Broker{Name: "acme", URL: "https://broker.test"}
	catalog, err := p.Catalog(t.Context(), &known)
	if err != nil {
		t.Fatal(err)
	}
	known.Catalog = catalog
	w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.AddBroker(known, w.now()) })
	b.Requests()
	return w
}

func (w *brokered) now() cloud.Stamp    { return cloud.Stamp{At: time.Now(), By: "ann"} }
func (w *brokered) http() *http.Client  { return &http.Client{Transport: w.transport} }
func (w *brokered) state() *cloud.State { return w.View().State }

func (w *brokered) do(change func(s *cloud.State) ([]cloud.Change, error)) {
	w.t.Helper()
	if err := w.Write(w.t.Context(), "", "", change); err != nil {
		w.t.Fatal(err)
	}
}

// lead has a node lead until cancel or stop is called.
func (w *brokered) lead() {
	ctx, cancel := context.WithCancel(w.t.Context())
	w.cancel = cancel
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	ended := make(chan struct{}, 2)
	go func() {
		_ = (&Brokers{Views: w, Writer: w, HTTP: w.http(), Events: noEvents{}, Log: log, Now: time.Now}).Run(ctx)
		ended <- struct{}{}
	}()
	go func() {
		_ = (&Accounts{Views: w, Writer: w, Commands: w, HTTP: w.http(), Log: log, Now: time.Now}).Run(ctx)
		ended <- struct{}{}
	}()
	w.ended = ended
}

func (w *brokered) stop() {
	w.cancel()
	<-w.ended
	<-w.ended
}

func (w *brokered) create() {
	w.do(func(s *cloud.State) ([]cloud.Change, error) {
		return s.CreateBrokered(cloud.NewBrokered{App: sql, Broker: "acme", Offering: "sql", Plan: "small", Instance: newID(), Variable: "DATABASE_URL"}, w.now())
	})
}

// push makes a release that is bound to the service.
func (w *brokered) push() {
	w.do(func(s *cloud.State) ([]cloud.Change, error) {
		changes, _, err := s.Push(cloud.Push{App: shop, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1"}}, Spec: cloud.PushSpec{Services: []cloud.Binding{{Service: "sql"}}}}, w.now())
		return changes, err
	})
}

// settle lets an hour pass.
func (w *brokered) settle() {
	time.Sleep(time.Hour)
	synctest.Wait()
}

// said is how the service is: its phase, its plan and the failure.
func (w *brokered) said() string {
	app, ok := w.state().App(sql)
	if !ok {
		return "none"
	}
	b := app.Service.Brokered
	switch {
	case b.Task != nil:
		return string(b.Task.Do)
	case !b.Made:
		return "failed"
	case b.Failure != "":
		return "ready, but " + b.Failure
	}
	return "ready " + app.Service.Version
}

func (w *brokered) check() {
	w.t.Helper()
	if wrong := w.broker.Wrong(); len(wrong) > 0 {
		w.t.Errorf("requests that the specification does not allow: %v", wrong)
	}
}

// A provisioning ends with a service that both sides know, or that none knows. What may have been made is deleted until the
// broker says that it has gone, and what was rejected is left alone.
func TestProvision(t *testing.T) {
	f := func(polls int, faults, want, requests string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Polls: polls, Delay: 2 * broker.Timeout, MaxPolling: 600}
			w := newBrokered(t, b)
			for field := range strings.FieldsSeq(faults) {
				kind, fault, _ := strings.Cut(field, "=")
				b.Fail(kind, brokertest.Fault(fault))
			}
			w.create()
			w.lead()
			w.settle()
			w.stop()
			w.check()
			if got := w.said(); got != want {
				t.Errorf("%d polls, %s: %s, want %s", polls, faults, got, want)
			}
			if made := strings.HasPrefix(want, "ready"); b.Instances() != map[bool]int{true: 1}[made] {
				t.Errorf("%d polls, %s: the broker has %d instances, and the service is %s", polls, faults, b.Instances(), want)
			}
			var got []string
			for _, kind := range b.Requests() {
				if kind != "last" {
					got = append(got, kind)
				}
			}
			if strings.Join(got, " ") != requests {
				t.Errorf("%d polls, %s: requests %v, want %s", polls, faults, got, requests)
			}
		})
	}
	const orphan = "provision deprovision"
	f(0, "", "ready small", "provision")
	f(3, "", "ready small", "provision")
	f(0, "provision=refused", "failed", "provision")
	f(0, "provision=408", "failed", "provision")
	f(0, "provision=404", "failed", "provision")
	f(0, "provision=410", "failed", "provision")
	f(0, "provision=busy provision=busy", "ready small", "provision provision provision")
	f(0, "provision=500", "failed", orphan)
	f(0, "provision=500-done", "failed", orphan)
	f(3, "provision=500-done", "failed", orphan)
	f(0, "provision=lost", "failed", orphan)
	f(0, "provision=dropped", "failed", orphan)
	f(0, "provision=slow", "failed", orphan)
	f(0, "provision=201-broken", "failed", orphan)
	f(3, "provision=201-broken", "failed", orphan)
	f(0, "provision=200-broken", "failed", "provision")
	f(0, "provision=207", "failed", orphan)
	f(1, "provision=fails", "failed", orphan)
	f(1, "provision=hangs", "failed", orphan)
	f(3, "last=500 last=404 last=410 last=dropped last=200-broken last=408", "ready small", "provision")
	f(0, "provision=500-done deprovision=500 deprovision=busy deprovision=408 deprovision=dropped deprovision=200-broken", "failed", "provision"+strings.Repeat(" deprovision", 6))
	f(0, "provision=500-done deprovision=lost", "failed", orphan+" deprovision")
	f(2, "provision=500-done deprovision=fails", "failed", orphan+" deprovision")
	f(2, "provision=500-done last=404", "failed", orphan+" deprovision")
}

// Another plan is taken over once the broker has it. A failure leaves the service as it was, and nothing is deleted.
func TestUpdate(t *testing.T) {
	f := func(polls int, faults []brokertest.Fault, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Polls: polls, Delay: 2 * broker.Timeout, MaxPolling: 600}
			w := newBrokered(t, b)
			w.create()
			w.lead()
			w.settle()
			b.Fail("update", faults...)
			w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.UpdateBrokered(sql, "large", nil, w.now()) })
			w.settle()
			w.stop()
			w.check()
			if got := w.said(); got != want {
				t.Errorf("%d polls, %v: %s, want %s", polls, faults, got, want)
			}
			if b.Instances() != 1 || slices.Contains(b.Requests(), "deprovision") {
				t.Errorf("%d polls, %v: the instance was deleted", polls, faults)
			}
			if strings.HasPrefix(want, "ready large") && b.Plans()[0] != brokertest.LargeID {
				t.Errorf("%d polls, %v: the broker has plan %s", polls, faults, b.Plans()[0])
			}
		})
	}
	f(0, nil, "ready large")
	f(2, nil, "ready large")
	f(0, []brokertest.Fault{brokertest.Busy}, "ready large")
	f(0, []brokertest.Fault{brokertest.Refused}, "ready, but the broker answered 400 Bad Request: no such size")
	f(0, []brokertest.Fault{brokertest.Broken}, "ready, but the broker answered 500 Internal Server Error: fault 500")
	f(0, []brokertest.Fault{brokertest.Fails}, "ready, but the disk is full")
	f(0, []brokertest.Fault{brokertest.Hangs}, "ready, but the broker did not finish it in time")
}

// An app gets the credentials of its binding, or its release fails and the broker has no binding.
func TestBind(t *testing.T) {
	f := func(polls int, faults, want, requests string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Polls: polls, Delay: 2 * broker.Timeout, MaxPolling: 600}
			w := newBrokered(t, b)
			w.create()
			w.lead()
			w.settle()
			b.Requests()
			for field := range strings.FieldsSeq(faults) {
				kind, fault, _ := strings.Cut(field, "=")
				b.Fail(kind, brokertest.Fault(fault))
			}
			w.push()
			w.settle()
			w.stop()
			w.check()
			rel, _ := w.state().Release(shop.Release(1))
			got := "waits"
			switch {
			case rel.Failure != nil:
				got = "failed"
			case w.state().Unmet(rel) == "":
				got = "bound"
			}
			if got != want || b.Bindings() != map[string]int{"bound": 1}[got] {
				t.Errorf("%d polls, %s: %s, want %s; the broker has %d bindings; %+v", polls, faults, got, want, b.Bindings(), rel.Failure)
			}
			var sent []string
			for _, kind := range b.Requests() {
				if kind != "last-binding" {
					sent = append(sent, kind)
				}
			}
			if strings.Join(sent, " ") != requests {
				t.Errorf("%d polls, %s: requests %v, want %s", polls, faults, sent, requests)
			}
		})
	}
	f(0, "", "bound", "bind")
	f(3, "", "bound", "bind fetch")
	f(0, "bind=busy", "bound", "bind bind")
	f(0, "bind=refused", "failed", "bind")
	f(0, "bind=408", "failed", "bind")
	f(0, "bind=500", "failed", "bind unbind")
	f(0, "bind=500-done", "failed", "bind unbind")
	f(0, "bind=lost", "failed", "bind unbind")
	f(0, "bind=slow", "failed", "bind unbind")
	f(0, "bind=201-broken", "failed", "bind unbind")
	f(0, "bind=200-broken", "failed", "bind")
	f(0, "bind=207", "failed", "bind unbind")
	f(1, "bind=fails", "failed", "bind unbind")
	f(1, "bind=hangs", "failed", "bind unbind")
	f(2, "last-binding=500 last-binding=410 fetch=500", "bound", "bind fetch fetch")
	f(2, "fetch=404", "failed", "bind fetch unbind")
	f(0, "bind=500-done unbind=500 unbind=busy unbind=dropped", "failed", "bind unbind unbind unbind unbind")
	f(2, "bind=500-done unbind=fails", "failed", "bind unbind unbind")
}

// The credentials are those of the broker, and what could leave the folder of a binding is no file.
func TestBrokerCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBrokered(t, &brokertest.Broker{})
		w.create()
		w.lead()
		w.settle()
		w.push()
		w.settle()
		w.stop()
		rel, _ := w.state().Release(shop.Release(1))
		bound := w.state().Bound(rel)
		if url := bound.Env["DATABASE_URL"]; !strings.HasPrefix(url, "postgres://u-") || bound.Env["SQL_URL"] != url {
			t.Errorf("the environment is %v", bound.Env)
		}
		if vcap := bound.Env["VCAP_SERVICES"]; !strings.Contains(vcap, `"replicas":["a","b"]`) || !strings.Contains(vcap, `"port":5432`) {
			t.Error(vcap)
		}
		for name := range bound.Files {
			if strings.Contains(name, "..") {
				t.Errorf("file %s", name)
			}
		}
		for name, want := range map[string]string{"host": "db.broker.test", "port": "5432", "database": "app", "type": "sql", "replicas": `["a","b"]`} {
			if got := bound.Files["sql/"+name]; got != want {
				t.Errorf("file %s is %q, want %q", name, got, want)
			}
		}
	})
}

// Whichever request a leader dies at, before the broker gets it or after, the next one goes on: in the end there is one
// instance and one binding, and after that none.
func TestLeaderDies(t *testing.T) {
	life := func(polls, at int, answered bool) (requests int) {
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Polls: polls}
			w := newBrokered(t, b)
			died := make(chan struct{})
			die := func() {
				if requests++; requests == at {
					w.cancel()
					close(died)
				}
			}
			w.transport.Before = die
			if answered {
				w.transport.Before, w.transport.After = nil, die
			}
			w.lead()
			go func() {
				select {
				case <-died:
					w.stop()
					w.lead()
				case <-t.Context().Done():
				}
			}()
			w.create()
			w.settle()
			w.push()
			w.settle()
			w.check()
			if w.said() != "ready small" || b.Instances() != 1 || b.Bindings() != 1 || w.state().Unmet(must(w.state(), shop)) != "" {
				t.Errorf("%d polls, died at request %d: the service is %s; the broker has %d instances and %d bindings", polls, at, w.said(), b.Instances(), b.Bindings())
			}
			w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.Delete(shop.Release(0)) })
			w.settle()
			w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.DeprovisionService(sql, w.now()) })
			w.settle()
			w.stop()
			w.check()
			if w.said() != "none" || b.Instances() != 0 || b.Bindings() != 0 {
				t.Errorf("%d polls, died at request %d: after its end the service is %s; the broker has %d instances and %d bindings", polls, at, w.said(), b.Instances(), b.Bindings())
			}
		})
		return requests
	}
	for _, polls := range []int{0, 2} {
		for at, n := 1, 1; at <= n; at++ {
			n = life(polls, at, false)
			life(polls, at, true)
		}
	}
}
