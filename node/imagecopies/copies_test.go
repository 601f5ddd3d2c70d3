package imagecopies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/images"
)

func world(nodes int) cloud.View {
	v := cloud.NewView()
	changes := []cloud.Change{cloud.Put(&cloud.Group{Name: cloud.DefaultGroup})}
	for k := range nodes {
		name := cloud.NodeName(fmt.Sprintf("n%d", k))
		changes = append(changes, cloud.Put(&cloud.Node{Name: name}))
		v.Instances = v.Instances.WithNode(&cloud.NodeStatus{Name: name, Alive: true})
	}
	v.State = v.State.Apply(1, changes)
	return v
}

func release(v cloud.View, app cloud.AppName, digest string) cloud.View {
	ref := cloud.AppRef{Group: cloud.DefaultGroup, App: app}
	rel := &cloud.Release{ReleaseRef: ref.Release(1), Up: true}
	rel.Spec.Image.Digest = digest
	v.State = v.State.Apply(v.State.Rev()+1, []cloud.Change{cloud.Put(&cloud.App{AppRef: ref, Current: 1, Last: 1}), cloud.Put(rel)})
	return v
}

func TestHolders(t *testing.T) {
	v := world(10)
	count := map[cloud.NodeName]int{}
	moved := 0
	less := v
	less.Instances = less.Instances.WithNode(&cloud.NodeStatus{Name: "n3"})
	for k := range 1000 {
		d := fmt.Sprintf("sha256:%d", k)
		holders := Holders(v, d)
		if len(holders) != copies || holders[0] == holders[1] {
			t.Fatalf("%s: %v", d, holders)
		}
		for _, n := range holders {
			count[n]++
		}
		after := Holders(less, d)
		if slices.Contains(after, "n3") {
			t.Fatalf("%s: a dead node holds it", d)
		}
		if !slices.Contains(holders, "n3") && !slices.Equal(holders, after) {
			moved++
		}
	}
	if moved != 0 {
		t.Errorf("%d images of other nodes moved when n3 died", moved)
	}
	for n, k := range count {
		if k < 150 || k > 250 {
			t.Errorf("%s holds %d of 2000 copies", n, k)
		}
	}
	if got := Holders(world(1), "sha256:1"); len(got) != 1 {
		t.Errorf("of a single node: %v", got)
	}
}

func TestSources(t *testing.T) {
	v := release(world(6), "shop", "sha256:a")
	first := slices.DeleteFunc([]cloud.NodeName{"n0", "n1", "n2", "n3", "n4", "n5"}, func(n cloud.NodeName) bool {
		return slices.Contains(Holders(v, "sha256:a"), n)
	})
	runs, self, dead := first[0], first[1], first[2]
	v.Instances = v.Instances.With(&cloud.Instance{
		ID: "i", Slot: cloud.Slot{ReleaseRef: cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}.Release(1), Process: cloud.Web},
		Node: runs, Phase: cloud.InstanceReady, Addr: netip.MustParseAddrPort("10.88.4.2:80"),
	}).WithNode(&cloud.NodeStatus{Name: dead})
	got := Sources(v, self, "sha256:a")
	if len(got) != 4 || got[0] != runs || slices.Contains(got, self) || slices.Contains(got, dead) ||
		!slices.Contains(got[1:3], Holders(v, "sha256:a")[0]) {
		t.Errorf("asked in the order %v: %s runs it, %v hold it", got, runs, Holders(v, "sha256:a"))
	}
}

// fakeStore is a store that gets an image by its nth fetch.
type fakeStore struct {
	mu      sync.Mutex
	have    map[string]bool
	fetched map[string]int
	fail    int // fetches that fail
	names   map[string]string
}

func (f *fakeStore) Get(_ context.Context, d string) (runtime.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have[d] {
		return runtime.Image{Digest: d}, nil
	}
	return runtime.Image{}, cloud.Errorf(cloud.NotFound, "image %s: not on this node", d)
}

func (f *fakeStore) Fetch(_ context.Context, d string, from []images.Source, _ func(runtime.Progress)) (runtime.Image, error) {
	time.Sleep(time.Second) //nolint:forbidigo // the time of a transfer, in a bubble
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetched[d]++
	if len(from) == 0 {
		return runtime.Image{}, errors.New("from nobody")
	}
	if f.fetched[d] <= f.fail {
		return runtime.Image{}, cloud.Errorf(cloud.Unavailable, "no node has sent it")
	}
	f.have[d] = true
	return runtime.Image{Digest: d}, nil
}

func TestCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := world(3)
		cell := cloud.NewCell()
		cell.Show(v)
		store := &fakeStore{have: map[string]bool{}, fetched: map[string]int{}, fail: 1}
		self := cloud.NodeName("n1")
		c := New(Config{
			Node: self, Views: cell, Store: store, Client: func(cloud.NodeName) *http.Client { return http.DefaultClient },
			Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		synctest.Wait()
		held := 0
		for k := range 20 {
			d := fmt.Sprintf("sha256:%d", k)
			v = release(v, cloud.AppName(fmt.Sprintf("app%d", k)), d)
			cell.Show(v)
			if slices.Contains(Holders(v, d), self) {
				held++
			}
		}
		time.Sleep(2 * time.Minute) //nolint:forbidigo // in a bubble
		synctest.Wait()
		if held == 0 || len(store.have) != held {
			t.Errorf("has %d images, is to hold %d", len(store.have), held)
		}
		for d, n := range store.fetched {
			if n != 2 {
				t.Errorf("%s: fetched %d times, and one failed", d, n)
			}
		}
		// A node dies: its images get new holders.
		v.Instances = v.Instances.WithNode(&cloud.NodeStatus{Name: "n0"})
		cell.Show(v)
		time.Sleep(2 * time.Minute) //nolint:forbidigo // in a bubble
		synctest.Wait()
		if len(store.have) != 20 {
			t.Errorf("of two nodes one has %d images of 20", len(store.have))
		}
		// Many who need the same one cause a single transfer.
		var all sync.WaitGroup
		store.fail = 0
		for range 10 {
			all.Go(func() {
				if _, err := c.Get(ctx, "sha256:x"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if store.fetched["sha256:x"] != 1 {
			t.Errorf("fetched %d times", store.fetched["sha256:x"])
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestCopiesOfASingleNode: a node that is the whole cloud asks nobody.
func TestCopiesOfASingleNode(t *testing.T) {
	cell := cloud.NewCell()
	cell.Show(release(world(1), "shop", "sha256:a"))
	store := &fakeStore{have: map[string]bool{}, fetched: map[string]int{}}
	c := New(Config{Node: "n0", Views: cell, Store: store, Client: func(cloud.NodeName) *http.Client { return nil }, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if _, err := c.Get(t.Context(), "sha256:a"); cloud.CodeOf(err) != cloud.NotFound {
		t.Error(err)
	}
	if got := c.wanted(cell.View(), cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}); got != nil {
		t.Errorf("wants %v", got)
	}
}
