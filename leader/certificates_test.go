package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
)

// publicHosts is a state in which hosts are public and lead to an app; those that begin with "-" are internal.
func publicHosts(hosts ...string) *cloud.State {
	changes := []cloud.Change{cloud.Put(&cloud.Settings{Domain: "micro.test"})}
	for _, h := range hosts {
		v := &cloud.VirtualHost{Host: cloud.Host(h), Group: "default", Exposure: cloud.ExposedPublic, Routes: []cloud.Route{{
			Path: "/", Targets: []cloud.Target{{ReleaseRef: cloud.AppRef{Group: "default", App: "shop"}.Release(0)}},
		}}}
		if h[0] == '-' {
			v.Host, v.Exposure = cloud.Host(h[1:]), cloud.ExposedInternal
		}
		changes = append(changes, cloud.Put(v))
	}
	return cloud.NewState().Apply(1, changes)
}

// TestWanted: only public hosts get certificates, and private names never. Those of a public domain share one.
func TestWanted(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s := publicHosts("www.example.com", "-inside.example.com", "shop.micro.test", "a.localhost", "db.internal", "*.wild.example.com", "a.wild.example.com")
	s = s.Apply(2, []cloud.Change{cloud.Put(&cloud.VirtualHost{Host: "kept.example.com", Exposure: cloud.ExposedPublic})})
	f := func(records Records, want ...cloud.Host) {
		t.Helper()
		if got := Wanted(s, records, now); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(nil, "a.wild.example.com", "www.example.com")
	s = s.Apply(3, []cloud.Change{cloud.Put(&cloud.PublicDomain{Name: "wild.example.com", Group: "default"})})
	f(nil, "*.wild.example.com", "www.example.com")
	s = s.Apply(4, []cloud.Change{cloud.Put(&cloud.PublicDomain{Name: "example.com", Group: "default"})})
	f(nil, "*.example.com", "*.wild.example.com")
	s = publicHosts("example.com", "www.example.com", "a.b.example.com").Apply(3, []cloud.Change{cloud.Put(&cloud.PublicDomain{Name: "example.com", Group: "default"})})
	f(nil, "*.example.com", "a.b.example.com", "example.com")
	wildcard := func(failures int, left time.Duration) Records {
		r := cloud.CertificateRecord{Host: "*.example.com", Failures: failures}
		if left != 0 {
			r.Expires = now.Add(left)
			r.From = r.Expires.Add(-80 * 24 * time.Hour)
		}
		return Records{"*.example.com": r}
	}
	const day = 24 * time.Hour
	f(wildcard(1, 0), "*.example.com", "a.b.example.com", "example.com", "www.example.com")
	f(wildcard(0, 60*day), "*.example.com", "a.b.example.com", "example.com")
	f(wildcard(9, 25*day), "*.example.com", "a.b.example.com", "example.com")
	f(wildcard(9, 19*day), "*.example.com", "a.b.example.com", "example.com", "www.example.com")
	f(wildcard(9, -day), "*.example.com", "a.b.example.com", "example.com", "www.example.com")
}

// TestNextOrders: at most so many certificates of a registered domain are ordered in a week, those of others go on.
func TestNextOrders(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var hosts []cloud.Host
	for i := range 60 {
		hosts = append(hosts, cloud.Host(fmt.Sprintf("h%d.example.co.uk", i)))
	}
	hosts = append(hosts, "www.example.com")
	records := Records{"h0.example.co.uk": {Host: "h0.example.co.uk", Issued: []time.Time{now.Add(-6 * 24 * time.Hour)}, From: now, Expires: now.AddDate(0, 3, 0)}}
	due, next := NextOrders(hosts, records, now)
	if len(due) != weekly-1+1 || !slices.Contains(due, "www.example.com") {
		t.Errorf("%d are due", len(due))
	}
	if want := now.Add(24 * time.Hour); !next.Equal(want) {
		t.Errorf("the next one is due at %v, want %v", next, want)
	}
}

// fakeAuthority issues certificates for 90 days while it is up.
type fakeAuthority struct {
	mu     sync.Mutex
	down   error
	orders map[cloud.Host]int
	own    cloud.Host
}

func (f *fakeAuthority) Order(_ context.Context, h cloud.Host) (cloud.IssuedCertificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders[h]++
	if f.down != nil {
		return cloud.IssuedCertificate{}, f.down
	}
	now := time.Now()
	return cloud.IssuedCertificate{Issuer: "fake", From: now, Expires: now.Add(90 * 24 * time.Hour)}, nil
}

func (f *fakeAuthority) Own(h cloud.Host) bool { return h == f.own }

func (f *fakeAuthority) set(down error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeAuthority) count(h cloud.Host) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.orders[h]
}

// fakeLedger keeps records in memory.
type fakeLedger struct {
	mu      sync.Mutex
	records Records
	fail    error
}

func (f *fakeLedger) Records(context.Context) (Records, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.records), f.fail
}

func (f *fakeLedger) Save(_ context.Context, r cloud.CertificateRecord) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.records[r.Host] = r
	}
	return f.fail
}

func (f *fakeLedger) Forget(_ context.Context, hosts ...cloud.Host) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range hosts {
		delete(f.records, h)
	}
	return nil
}

// kinds are the events that a duty told.
type kinds struct {
	mu   sync.Mutex
	list []string
}

func (k *kinds) Note(e Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, e.Kind)
}

func (k *kinds) count(kind string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, got := range k.list {
		if got == kind {
			n++
		}
	}
	return n
}

// TestCertificates: a certificate is ordered once, renewed when a third of its life is left, and asked for ever more
// seldom while the authority is down; its owner is told before it ends.
func TestCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cell := cloud.NewCell()
		cell.SetState(publicHosts("www.example.com", "own.example.com"))
		f := &fakeAuthority{orders: map[cloud.Host]int{}, own: "own.example.com"}
		ledger, events := &fakeLedger{records: Records{}}, &kinds{}
		duty := &Certificates{Views: cell, Authority: f, Ledger: ledger, Events: events, Log: slog.New(slog.DiscardHandler), Now: time.Now}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- duty.Run(ctx) }()
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		const host = "www.example.com"
		if wait(time.Minute); f.count(host) != 1 || f.count("own.example.com") != 0 {
			t.Fatalf("orders: %v", f.orders)
		}
		if wait(59 * 24 * time.Hour); f.count(host) != 1 {
			t.Errorf("%d orders within two thirds of its life", f.count(host))
		}
		if wait(2 * 24 * time.Hour); f.count(host) != 2 {
			t.Errorf("%d orders after two thirds of its life", f.count(host))
		}
		// The authority is down for a day, then until long after the certificate's end.
		f.set(&cloud.OrderFailure{Step: cloud.StepDirectory, Reason: "it is down"})
		wait(61 * 24 * time.Hour)
		before := f.count(host)
		if wait(24 * time.Hour); f.count(host)-before < 3 || f.count(host)-before > 5 {
			t.Errorf("%d orders in a day while the authority is down", f.count(host)-before)
		}
		if r := ledger.records[host]; r.Failed == nil || r.Failed.Step != cloud.StepDirectory || r.Expires.IsZero() {
			t.Errorf("the record is %+v", r)
		}
		if events.count("certificate.ending") != 0 {
			t.Error("an alarm although the certificate lasts for weeks")
		}
		if wait(20 * 24 * time.Hour); events.count("certificate.ending") < 10 {
			t.Errorf("%d alarms before the end", events.count("certificate.ending"))
		}
		f.set(nil)
		if wait(7 * time.Hour); ledger.records[host].Failures != 0 {
			t.Errorf("not ordered again when the authority is back: %+v", ledger.records[host])
		}
		// A limit of the authority's is kept.
		f.set(&cloud.OrderFailure{Step: cloud.StepOrder, Reason: "too many", Wait: 48 * time.Hour})
		wait(61 * 24 * time.Hour)
		before = f.count(host)
		if wait(47 * time.Hour); f.count(host)-before > 1 {
			t.Errorf("%d orders within the time that the authority asked for", f.count(host)-before)
		}
		// A record that cannot be written does not lead to orders without end.
		f.set(nil)
		wait(72 * time.Hour)
		ledger.mu.Lock()
		ledger.records, ledger.fail = Records{}, errors.New("the disk is full")
		ledger.mu.Unlock()
		before = f.count(host)
		cell.SetState(publicHosts("www.example.com").Apply(3, nil))
		if wait(time.Hour); f.count(host)-before > 61 {
			t.Errorf("%d orders in an hour without records", f.count(host)-before)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
