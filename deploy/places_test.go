package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/protoduction/micro/cloud"
)

// Work takes places in turns: "a/x" comes for a place, "-a/x" gives it back. What stands in the line behind
// it has got a place by then.
func TestPlaces(t *testing.T) {
	for name, steps := range map[string][]string{
		"two groups share": {
			"a/1: a/1", "a/2: a/1 a/2", "a/3: a/1 a/2", "b/1: a/1 a/2 b/1", "b/2: a/1 a/2 b/1",
			"-a/1: a/2 a/3 b/1", "-a/2: a/3 b/1 b/2",
		},
		"the group with fewer goes first": {
			"a/1: a/1", "b/1: a/1 b/1", "b/2: a/1 b/1 b/2", "a/2: a/1 b/1 b/2", "c/1: a/1 b/1 b/2",
			"-b/1: a/1 b/2 c/1",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel() // whoever still waits then
			p := newPlaces(3, 2)
			var mu sync.Mutex
			held := map[string]func(){}
			for _, step := range steps {
				do, want, _ := strings.Cut(step, ": ")
				if name, ok := strings.CutPrefix(do, "-"); ok {
					mu.Lock()
					giveBack := held[name]
					delete(held, name)
					mu.Unlock()
					giveBack()
				} else {
					group, _, _ := strings.Cut(do, "/")
					go func() {
						giveBack, err := p.take(ctx, cloud.GroupName(group), func() {})
						if err == nil {
							mu.Lock()
							held[do] = giveBack
							mu.Unlock()
						}
					}()
				}
				synctest.Wait()
				mu.Lock()
				got := strings.Join(slices.Sorted(maps.Keys(held)), " ")
				mu.Unlock()
				if got != want {
					t.Errorf("%s: after %s %q have a place, want %q", name, do, got, want)
				}
			}
		})
	}
}

// Whoever stops waiting takes no place.
func TestPlacesLeave(t *testing.T) {
	p := newPlaces(1, 1)
	giveBack, err := p.take(t.Context(), "a", func() { t.Error("the first one waits") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("superseded")
	if _, err := p.take(ctx, "b", func() { cancel(why) }); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	giveBack()
	if _, err := p.take(t.Context(), "b", func() { t.Error("the place is not free") }); err != nil {
		t.Error(err)
	}
}
