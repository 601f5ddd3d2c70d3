package services

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services/broker"
	"github.com/protoduction/micro/services/broker/brokertest"
)

// refresh fetches the broker's catalog, as micro service broker refresh does.
func (w *brokered) refresh() {
	w.t.Helper()
	known, err := w.state().MustBroker("acme")
	if err != nil {
		w.t.Fatal(err)
	}
	catalog, err := (&Provider{HTTP: w.http()}).Catalog(w.t.Context(), known)
	if err != nil {
		w.t.Fatal(err)
	}
	w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.RefreshBroker("acme", catalog, w.now().At) })
}

// runsOn is the maintenance version that micro believes the service to run on.
func (w *brokered) runsOn() string {
	app, _ := w.state().App(sql)
	return app.Service.Brokered.Maintenance
}

// made is what the broker has made.
func (w *brokered) made() string { return strings.Join(w.broker.Made(), ", ") }

// A service is made with the maintenance version of the broker's catalog, also if that has changed since it was fetched. A
// broker whose catalog and answers never agree makes nothing, and nothing is deleted.
func TestProvisionWithMaintenance(t *testing.T) {
	f := func(now, faults, want, made, requests string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Maintenance: "1.0.0", Delay: 2 * broker.Timeout, MaxPolling: 600}
			w := newBrokered(t, b)
			b.SetMaintenance(now, false)
			for field := range strings.FieldsSeq(faults) {
				kind, fault, _ := strings.Cut(field, "=")
				b.Fail(kind, brokertest.Fault(fault))
			}
			w.create()
			w.lead()
			w.settle()
			w.stop()
			w.check()
			if got := strings.Join(b.Requests(), " "); w.said() != want || w.made() != made || got != requests {
				t.Errorf("%s, %s: the service is %s, the broker has made %q by %s; want %s, %q by %s", now, faults, w.said(), w.made(), got, want, made, requests)
			}
			if strings.HasPrefix(want, "ready") && w.runsOn() != now {
				t.Errorf("%s, %s: micro believes that it runs on %q", now, faults, w.runsOn())
			}
		})
	}
	f("1.0.0", "", "ready small", "instance 1.0.0", "provision")
	f("2.0.0", "", "ready small", "instance 2.0.0", "provision catalog provision")
	f("", "", "ready small", "instance", "provision catalog provision")
	f("2.0.0", "provision=outdated provision=outdated", "failed", "", "provision catalog provision")
	f("2.0.0", "catalog=500", "failed", "", "provision catalog")
	f("2.0.0", "provision=outdated provision=lost", "failed", "", "provision catalog provision deprovision")
}

// An upgrade brings a service to the maintenance version of its plan. A failure leaves it on the one before.
func TestUpgradeAtBroker(t *testing.T) {
	f := func(known, now string, polls int, faults, want, made string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Maintenance: "1.0.0", Polls: polls, Delay: 2 * broker.Timeout, MaxPolling: 600}
			w := newBrokered(t, b)
			w.create()
			w.lead()
			w.settle()
			b.SetMaintenance(known, false)
			w.refresh()
			b.SetMaintenance(now, false)
			for field := range strings.FieldsSeq(faults) {
				kind, fault, _ := strings.Cut(field, "=")
				b.Fail(kind, brokertest.Fault(fault))
			}
			w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.UpgradeBrokered(sql, w.now()) })
			w.settle()
			w.stop()
			w.check()
			if w.said() != want || w.made() != made || "instance "+w.runsOn() != made {
				t.Errorf("%s to %s, %d polls, %s: the service is %s and runs on %s, the broker has made %q; want %s, %q", known, now, polls, faults, w.said(), w.runsOn(), w.made(), want, made)
			}
		})
	}
	f("1.0.0", "1.0.0", 0, "", "ready small", "instance 1.0.0")
	f("2.0.0", "2.0.0", 0, "", "ready small", "instance 2.0.0")
	f("2.0.0", "2.0.0", 3, "", "ready small", "instance 2.0.0")
	f("2.0.0", "3.0.0", 0, "", "ready small", "instance 3.0.0")
	f("2.0.0", "2.0.0", 0, "update=refused", "ready, but the broker answered 400 Bad Request: no such size", "instance 1.0.0")
	f("2.0.0", "2.0.0", 1, "update=fails", "ready, but the disk is full", "instance 1.0.0")
	f("2.0.0", "2.0.0", 0, "update=outdated update=outdated", "ready, but the broker answered 422 Unprocessable Entity: the maintenance information has changed", "instance 1.0.0")
	f("2.0.0", "3.0.0", 0, "catalog=500", "ready, but its catalog has changed, and cannot be fetched: the broker answered 500 Internal Server Error: fault 500", "instance 1.0.0")
}

// A rotation makes the successor of a binding if the broker knows successors and the binding has not expired; otherwise
// another binding with the same parameters. Afterwards the old one is deleted.
func TestRotateAtBroker(t *testing.T) {
	f := func(rotatable bool, expires, parameters, faults, both, after string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := &brokertest.Broker{Rotatable: rotatable, Expires: expires, Delay: 2 * broker.Timeout, MaxPolling: 600}
			w := newBrokered(t, b)
			w.create()
			w.lead()
			w.settle()
			w.do(func(s *cloud.State) ([]cloud.Change, error) {
				spec := cloud.PushSpec{Services: []cloud.Binding{{Service: "sql", Parameters: `{"size":2}`}}}
				changes, _, err := s.Push(cloud.Push{App: shop, Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1"}}, Spec: spec}, w.now())
				return changes, err
			})
			w.settle()
			w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.FinishRollout(shop, w.now().At, w.now()), nil })
			for field := range strings.FieldsSeq(faults) {
				kind, fault, _ := strings.Cut(field, "=")
				b.Fail(kind, brokertest.Fault(fault))
			}
			w.do(func(s *cloud.State) ([]cloud.Change, error) {
				changes, _, err := s.ChangeBindings(shop.Release(0), cloud.BindingChange{Rotate: []cloud.AppName{"sql"}, Parameters: parameters}, "rotate", w.now())
				return changes, err
			})
			w.settle()
			if got := w.made(); got != both {
				t.Errorf("%t, %s, %s, %s: after the rotation the broker has made %q, want %q", rotatable, expires, parameters, faults, got, both)
			}
			w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.FinishRollout(shop, w.now().At, w.now()), nil })
			w.settle()
			w.stop()
			w.check()
			if got := w.made(); got != after {
				t.Errorf("%t, %s, %s, %s: in the end the broker has made %q, want %q", rotatable, expires, parameters, faults, got, after)
			}
		})
	}
	const small, large, next = `binding {"size":2}`, `binding {"size":3}`, `successor {"size":2}`
	f(true, "", "", "", small+", instance, "+next, "instance, "+next)
	f(true, "2999-12-31T23:59:59.0Z", "", "", small+", instance, "+next, "instance, "+next)
	f(true, "1999-12-31T23:59:59.0Z", "", "", small+", "+small+", instance", small+", instance")
	f(false, "", "", "", small+", "+small+", instance", small+", instance")
	f(true, "", `{"size":3}`, "", small+", "+large+", instance", large+", instance")
	f(true, "", "", "bind=busy", small+", instance, "+next, "instance, "+next)
	f(true, "", "", "bind=lost", small+", instance", small+", instance")
	f(true, "", "", "bind=refused", small+", instance", small+", instance")
}
