package services

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/services/broker/brokertest"
)

// inCloud runs a test in a cloud with a leader and a broker.
func inCloud(t *testing.T, b *brokertest.Broker, test func(w *brokered)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newBrokered(t, b)
		w.lead()
		defer w.stop()
		test(w)
		w.check()
	})
}

func (w *brokered) wants(what, service string, instances, bindings int) {
	w.t.Helper()
	if got := w.said(); got != service || w.broker.Instances() != instances || w.broker.Bindings() != bindings {
		w.t.Errorf("%s: the service is %s, want %s; the broker has %d instances and %d bindings, want %d and %d",
			what, got, service, w.broker.Instances(), w.broker.Bindings(), instances, bindings)
	}
}

func (w *brokered) delete(now bool) {
	w.t.Helper()
	w.do(func(s *cloud.State) ([]cloud.Change, error) {
		if now {
			return s.DeprovisionService(sql, w.now())
		}
		return s.DeleteService(sql, w.now())
	})
}

// A service can be deleted at any time of its life.
func TestDeleteBrokered(t *testing.T) {
	inCloud(t, &brokertest.Broker{Polls: 2}, func(w *brokered) {
		w.create()
		w.settle()
		w.delete(false)
		w.settle()
		w.wants("deleted", "ready small", 1, 0)
		time.Sleep(cloud.DeletedFor)
		w.settle()
		w.wants("a week later", "none", 0, 0)
	})
	inCloud(t, &brokertest.Broker{Polls: 2}, func(w *brokered) {
		w.create()
		w.settle()
		w.delete(false)
		w.settle()
		w.delete(true)
		w.settle()
		w.wants("deleted, and then at once", "none", 0, 0)
	})
	inCloud(t, &brokertest.Broker{}, func(w *brokered) {
		w.broker.Fail("provision", brokertest.Hangs)
		w.broker.RetryAfter = 3600
		w.create()
		time.Sleep(time.Minute)
		w.delete(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.wants("deleted while it is provisioned", "none", 0, 0)
	})
	inCloud(t, &brokertest.Broker{}, func(w *brokered) {
		w.broker.Fail("provision", brokertest.Refused)
		w.create()
		w.settle()
		w.broker.Requests()
		w.delete(false)
		w.settle()
		w.wants("deleted after the broker refused it", "none", 0, 0)
		if requests := w.broker.Requests(); len(requests) > 0 {
			w.t.Errorf("the broker was asked %v about what it never had", requests)
		}
	})
}

// An app is unbound while the broker works on its binding: the binding goes, and nobody waits for it.
func TestUnbindWhileItIsBound(t *testing.T) {
	inCloud(t, &brokertest.Broker{}, func(w *brokered) {
		w.create()
		w.settle()
		w.broker.Fail("bind", brokertest.Hangs)
		w.push()
		time.Sleep(time.Minute)
		w.wants("while it is bound", "ready small", 1, 1)
		w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.Delete(shop.Release(0)) })
		time.Sleep(time.Minute)
		synctest.Wait()
		w.wants("the app was deleted", "ready small", 1, 0)
	})
}

// A broker that is not reached has got nothing, so nothing is deleted there; what must be deleted waits for it.
func TestBrokerIsDown(t *testing.T) {
	inCloud(t, &brokertest.Broker{}, func(w *brokered) {
		down := true
		w.transport.Down = func() bool { return down }
		w.create()
		w.settle()
		down = false
		w.settle()
		w.wants("created while the broker is down", "failed", 0, 0)
		if requests := w.broker.Requests(); len(requests) > 0 {
			w.t.Errorf("the broker was asked %v about what it never had", requests)
		}
	})
	inCloud(t, &brokertest.Broker{}, func(w *brokered) {
		down := true
		w.transport.Down = func() bool { return down }
		w.create()
		time.Sleep(10 * time.Second)
		down = false
		w.settle()
		w.wants("the broker comes back in time", "ready small", 1, 0)
		w.push()
		w.settle()
		w.do(func(s *cloud.State) ([]cloud.Change, error) { return s.Delete(shop.Release(0)) })
		down = true
		w.delete(true)
		w.settle()
		w.wants("deleted while the broker is down", "deprovision", 1, 1)
		down = false
		w.settle()
		w.wants("the broker is back", "none", 0, 0)
		if requests := w.broker.Requests(); !slices.Equal(requests, []string{"provision", "bind", "unbind", "deprovision"}) {
			w.t.Errorf("requests %v", requests)
		}
	})
}
