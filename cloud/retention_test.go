package cloud

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestPrune(t *testing.T) {
	y := begin(t)
	digests := map[int]string{}
	made := func(stage bool) *Release {
		rel := y.push(shop, PushSpec{}, stage)
		next := *rel
		next.Spec.Image.Digest = "sha256:" + rel.ReleaseRef.String()
		digests[rel.N] = next.Spec.Image.Digest
		y.do([]Change{Put(&next)}, nil)
		return rel
	}
	phases := func() (list []Phase) {
		for rel := range y.s.Releases(shop) {
			list = append(list, y.s.PhaseOf(rel))
		}
		return list
	}
	for range 8 {
		made(false)
		y.do(y.s.FinishRollout(shop, noon.Add(time.Minute), ann), nil)
	}
	staged := made(true)
	y.do(y.s.MarkUp(staged.ReleaseRef), nil)
	y.do(y.s.Stop(staged.ReleaseRef, false))
	failed := made(false)
	y.do(y.s.Fail(failed.ReleaseRef, Failure{Reason: "no"}), nil)

	// Two that were current are warm, and count among the five that are kept.
	y.do(y.s.Prune(), nil)
	if want := []Phase{"pruned", "pruned", "retired", "retired", "retired", "warm", "warm", "current", "stopped", "failed"}; !slices.Equal(phases(), want) {
		t.Fatalf("warm: %v", phases())
	}
	y.do(y.s.Cool(shop, Stamp{At: noon.Add(time.Hour)}), nil)
	y.do(y.s.Prune(), nil)
	if want := []Phase{"pruned", "pruned", "retired", "retired", "retired", "retired", "retired", "current", "stopped", "failed"}; !slices.Equal(phases(), want) {
		t.Fatalf("after that: %v", phases())
	}
	if changes := y.s.Prune(); changes != nil {
		t.Errorf("a second time: %v", changes)
	}
	keep := y.s.Images()
	for n, want := range map[int]bool{1: false, 2: false, 3: true, 7: true, 8: true, 9: true, 10: false} {
		if keep[digests[n]] != want {
			t.Errorf("image of r%d: kept %v", n, keep[digests[n]])
		}
	}

	changes, _, err := y.s.Rollback(shop, 2, ann)
	y.refuses(changes, err, Conflict, "no image")
	changes, err = y.s.Promote(shop.Release(1), true, ann)
	y.refuses(changes, err, Conflict, "no image")
	changes, err = y.s.Start(shop.Release(1), ann)
	y.refuses(changes, err, Conflict, "no image")
	changes, _, err = y.s.Env(shop.Release(1), EnvChange{Set: map[string]string{"A": "b"}}, ann)
	y.refuses(changes, err, Conflict, "no image")
	_, back, err := y.s.Rollback(shop, 0, ann)
	if err != nil || back.N != 7 {
		t.Errorf("back: %v, %v", back, err)
	}

	// Back and forth between two forgets none of the others.
	for _, n := range []int{7, 8, 7, 8} {
		changes, _, err := y.s.Rollback(shop, n, ann)
		y.do(changes, err)
		y.do(y.s.FinishRollout(shop, noon, ann), nil)
		y.do(y.s.Cool(shop, ann), nil)
	}
	y.do(y.s.Prune(), nil)
	if got := phases(); got[2] != PhaseRetired || got[6] != PhaseRetired {
		t.Errorf("back and forth: %v", got)
	}

	// Records have an end too; what leads somewhere stays.
	for range 60 {
		made(false)
		y.do(y.s.FinishRollout(shop, noon, ann), nil)
		y.do(y.s.Cool(shop, ann), nil)
		y.do(y.s.Prune(), nil)
	}
	if n := len(phases()); n > keptRecords {
		t.Errorf("%d records", n)
	}
	if _, ok := y.s.Release(staged.ReleaseRef); !ok {
		t.Error("the staged release is gone")
	}
}

// What is given up at a time is bounded, and all of it goes in the end.
func TestSweepsAreBounded(t *testing.T) {
	y := begin(t)
	past := noon.Add(-time.Hour)
	var all []Change
	const apps, each = 30, 8
	for i := range apps {
		ref := AppRef{DefaultGroup, AppName(fmt.Sprintf("app-%02d", i))}
		all = append(all, Put(&App{AppRef: ref, Last: each}))
		for n := range each {
			all = append(all, Put(&Release{ReleaseRef: ref.Release(n + 1), Up: true, Warm: &past}))
		}
	}
	y.do(all, nil)
	sweep := func(what string, next func() []Change) {
		t.Helper()
		n := 0
		for changes := next(); len(changes) > 0; changes = next() {
			if len(changes) > SweepLimit {
				t.Fatalf("%s returns %d changes", what, len(changes))
			}
			n += len(changes)
			y.do(changes, nil)
		}
		if n != apps*each {
			t.Errorf("%s changed %d releases, want %d", what, n, apps*each)
		}
	}
	for i := range apps {
		y.do(y.s.Cool(AppRef{DefaultGroup, AppName(fmt.Sprintf("app-%02d", i))}, ann), nil)
	}
	sweep("prune", func() []Change { return y.s.Prune() })
}
