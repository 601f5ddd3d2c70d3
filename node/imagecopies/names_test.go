package imagecopies

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

func (f *fakeStore) Pull(_ context.Context, name string, _ func(runtime.Progress)) (runtime.Image, error) {
	return runtime.Image{Name: name, Digest: "a registry's"}, nil
}

func (f *fakeStore) Names(context.Context) (map[string]string, error) {
	return maps.Clone(f.names), nil
}

func (f *fakeStore) Tag(_ context.Context, digest, name string) error {
	f.names[name] = digest
	return nil
}

func (f *fakeStore) Untag(_ context.Context, name string) error {
	delete(f.names, name)
	return nil
}

func TestNames(t *testing.T) { synctest.Test(t, testNames) }

func testNames(t *testing.T) {
	cell := cloud.NewCell()
	cell.Show(world(2))
	change := func(changes ...cloud.Change) {
		v := cell.View()
		v.State = v.State.Apply(v.State.Rev()+1, changes)
		cell.Show(v)
	}
	node := func(self cloud.NodeName) (*Copies, *fakeStore) {
		store := &fakeStore{have: map[string]bool{}, fetched: map[string]int{}, names: map[string]string{}}
		return New(Config{
			Node: self, Views: cell, Store: store, Client: func(cloud.NodeName) *http.Client { return http.DefaultClient },
			Adopt: func(_ context.Context, digests map[string]string) error {
				change(cell.View().State.AdoptImageNames(digests)...)
				return nil
			},
			Log: slog.New(slog.DiscardHandler), Now: time.Now,
		}), store
	}
	one, of1 := node("n0")
	two, of2 := node("n1")
	const base, tool = "docker.io/library/base:latest", "docker.io/library/tool:latest"
	apply := func(want string) {
		t.Helper()
		for range 2 { // what the second node adopts is the first one's as well
			for _, c := range []*Copies{one, two} {
				if !c.ApplyNames(t.Context()) {
					t.Fatal(c.unnamed)
				}
			}
		}
		for _, s := range []*fakeStore{of1, of2} {
			if got := fmt.Sprint(s.names); got != want {
				t.Errorf("names %s, want %s", got, want)
			}
		}
	}

	// Names that nodes of an older micro gave: where they differ, the first node's counts.
	of1.names[base], of1.have["sha256:a"] = "sha256:a", true
	of2.names[base], of2.have["sha256:b"] = "sha256:b", true
	of2.names[tool] = "sha256:b"
	apply(fmt.Sprintf("map[%s:sha256:a %s:sha256:b]", base, tool))

	// A name moves, and goes. A node that still has it must not bring it back.
	change(cell.View().State.NameImage(base, "sha256:c")...)
	removed, err := cell.View().State.RemoveImageName(tool)
	if err != nil {
		t.Fatal(err)
	}
	change(removed...)
	apply(fmt.Sprintf("map[%s:sha256:c]", base))
	if _, err := cell.View().State.RemoveImageName(tool); cloud.CodeOf(err) != cloud.NotFound {
		t.Error(err)
	}
	late, store := node("n1")
	store.names[tool], store.have["sha256:b"] = "sha256:b", true
	if !late.ApplyNames(t.Context()) || len(store.names) != 1 || !store.have["sha256:c"] {
		t.Errorf("%v, %s", store.names, late.unnamed)
	}

	// A push finds the cloud's image before this node has named it, and a registry's under any other name.
	change(cell.View().State.NameImage(tool, "sha256:d")...)
	for name, want := range map[string]string{"tool": "sha256:d", "base:latest": "sha256:c", "other": "a registry's", "tool:2": "a registry's"} {
		if image, err := late.Pull(t.Context(), name, nil); err != nil || image.Digest != want || image.Name != name {
			t.Errorf("%s: %+v, %v", name, image, err)
		}
	}
	alone, _ := node("n0")
	alone.Client = func(cloud.NodeName) *http.Client { return nil }
	if _, err := alone.Pull(t.Context(), "tool", nil); cloud.CodeOf(err) != cloud.Unavailable {
		t.Error(err)
	}
}

// An image that no node has now is asked for again in intervals, not at each change of anything; the others get their names.
func TestNamesOfAnImageThatIsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cell := cloud.NewCell()
		v := world(2)
		v.State = v.State.Apply(v.State.Rev()+1, slices.Concat(v.State.NameImage("docker.io/library/a:1", "sha256:a"), v.State.NameImage("docker.io/library/b:1", "sha256:b")))
		cell.Show(v)
		store := &fakeStore{have: map[string]bool{"sha256:b": true}, fetched: map[string]int{}, names: map[string]string{}, fail: 2}
		c := New(Config{
			Node: "n0", Views: cell, Store: store, Client: func(cloud.NodeName) *http.Client { return http.DefaultClient }, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.RunNames(ctx) }()
		for k := range 20 {
			time.Sleep(retryAfter / 10) //nolint:forbidigo // in a bubble
			v = release(v, cloud.AppName(fmt.Sprintf("app%d", k)), "sha256:x")
			cell.Show(v)
		}
		synctest.Wait()
		if store.fetched["sha256:a"] != 2 || store.names["docker.io/library/b:1"] != "sha256:b" || len(store.names) != 1 {
			t.Errorf("asked %d times; names %v", store.fetched["sha256:a"], store.names)
		}
		time.Sleep(2 * retryAfter) //nolint:forbidigo // in a bubble
		if store.names["docker.io/library/a:1"] != "sha256:a" {
			t.Errorf("names %v", store.names)
		}
		cancel()
		<-ended
	})
}
