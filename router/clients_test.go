package router

import (
	"sync"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// counted records a request of a client at a second.
func counted(f *Figures, client uint64, second int64, status int) {
	x := Exchange{
		Release: cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1), RouteHost: "www.example.com", RoutePath: "/", Method: []byte("GET"),
		Start: time.Unix(1000+second, 0), First: time.Millisecond, Status: status, ClientKey: client, fading: 1000, Nth: 1000,
	}
	f.Record(&x)
}

func clientsOf(f *Figures) ClientCounts {
	for _, c := range f.At(Place{Host: "www.example.com", Path: "/"}) {
		return c.Judged.Clients
	}
	return ClientCounts{}
}

// A client counts once, ten seconds after its first request, by what became of the requests until then.
func TestClientsCountOnce(t *testing.T) {
	f := NewFigures(0)
	for range 1000 {
		counted(f, 1, 0, 200)
	}
	counted(f, 1, 5, 500)
	counted(f, 2, 1, 200)
	counted(f, 3, 2, 404)
	counted(f, 4, 3, 302)
	if c := clientsOf(f); c.Known != 0 {
		t.Errorf("known too early: %+v", c)
	}
	counted(f, 2, 12, 500) // too late to count
	counted(f, 5, 13, 200)
	c := clientsOf(f)
	if c.Known != 4 || c.Failed != 1 || c.Other != 1 || c.Moved != 1 || c.Requests != 1006 || c.Busiest != 1006 || c.First.Count != 5 {
		t.Errorf("%+v", c)
	}
}

// Many clients at a time are all counted, and few of them make few of the requests.
func TestManyClients(t *testing.T) {
	f := NewFigures(0)
	var all sync.WaitGroup
	for part := range uint64(4) {
		all.Go(func() {
			for n := range uint64(2000) {
				counted(f, mix(n)|1, int64(part), 200)
			}
		})
	}
	all.Wait()
	counted(f, 9, 60, 200)
	if c := clientsOf(f); c.Known != 2000 || c.Busiest > 25 || c.Requests != 8001 || c.First.Count != 2001 {
		t.Errorf("%d known, %d first, %d of %d requests", c.Known, c.First.Count, c.Busiest, c.Requests)
	}
}

// Clients beyond what there is room for are left out, and a cross-fade that follows counts anew.
func TestRoomForClients(t *testing.T) {
	f := NewFigures(0)
	for n := range uint64(3 * clientSlots) {
		counted(f, mix(n)|1, 0, 200)
	}
	counted(f, 9, 60, 200)
	if c := clientsOf(f); c.Known < clientSlots/2 || c.Known > clientSlots {
		t.Errorf("%d known", c.Known)
	}
	x := Exchange{Release: cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1), RouteHost: "www.example.com", RoutePath: "/", Status: 200, Start: time.Unix(5000, 0), ClientKey: 1, fading: 5000}
	f.Record(&x)
	if c := clientsOf(f); c.Requests != 1 {
		t.Errorf("%+v", c)
	}
}

// BenchmarkRecordInCrossfade is what the figures of a request cost, while its route is cross-faded.
func BenchmarkRecordInCrossfade(b *testing.B) {
	f := NewFigures(DefaultWarmup)
	x := Exchange{
		Release: cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1), RouteHost: "www.example.com", RoutePath: "/", Method: []byte("GET"),
		Start: time.Unix(1000, 0), First: 12 * time.Millisecond, Duration: 13 * time.Millisecond, Status: 200, Out: 5000, fading: 1000, Nth: 1000,
	}
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		x.ClientKey = n%500 + 1
		f.Waits(&x)
		f.Waited(&x)
		f.Record(&x)
	}
}
