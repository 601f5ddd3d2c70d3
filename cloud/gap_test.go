package cloud

import (
	"strings"
	"testing"
	"time"
)

// What ends before its successor starts is away meanwhile, and that is told before, with how long it was last time.
func TestGapNotice(t *testing.T) {
	y := begin(t)
	says := func(d PushSpec, stage bool, want string) {
		t.Helper()
		changes, ref, err := y.s.Push(Push{App: shop, Spec: d, Stage: stage}, ann)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := y.s.Apply(y.s.Rev()+1, changes).Release(ref)
		if got := y.s.GapNotice(rel); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("says %q, want %q", got, want)
		}
	}
	says(withVolume(), false, "") // there is nothing to interrupt
	y.push(shop, withVolume(), false)
	y.do(y.s.FinishRollout(shop, noon.Add(time.Hour), Stamp{At: noon.Add(9 * time.Second)}), nil)
	says(withVolume(), false, "shop@r1 ends before shop@r2 starts, so shop does not answer in between, for as long as a stop and a start take")
	y.push(shop, withVolume(), false)
	y.do(y.s.FinishRollout(shop, noon.Add(time.Hour), Stamp{At: noon.Add(6400 * time.Millisecond)}), nil)
	says(withVolume(), false, "for about 6.4s, as long as last time")
	changes, err := y.s.Restart(shop.Release(0))
	if y.do(changes, err); y.s.GapNotice(y.release(shop, 2)) == "" {
		t.Error("a restart of the only instance says nothing")
	}
	says(PushSpec{Strategy: &Strategy{Kind: Recreate}}, false, "for about 6.4s")
	// A release command runs while the old release serves: what it takes is no gap.
	command := "migrate"
	d := withVolume()
	d.Processes = map[ProcessName]ProcessSpec{ReleaseCommand: {Command: &command}}
	rel := y.push(shop, d, false)
	y.do(y.s.MarkReleased(rel.ReleaseRef), nil)
	y.do(y.s.FinishRollout(shop, noon.Add(time.Hour), Stamp{At: noon.Add(time.Minute)}), nil)
	says(d, false, "for as long as a stop and a start take")
	changes, err = y.s.Restart(shop.Release(0))
	if got := y.s.GapNoticeOf(changes); err != nil || !strings.Contains(got, "its instance ends before the next one starts") {
		t.Errorf("a restart says %q, %v", got, err)
	}
	changes, _, err = y.s.Env(shop.Release(0), EnvChange{Set: map[string]string{"A": "1"}}, ann)
	if got := y.s.GapNoticeOf(changes); err != nil || !strings.Contains(got, "shop@r3 ends before shop@r4 starts") {
		t.Errorf("a change of the environment says %q, %v", got, err)
	}
	changes, err = y.s.Scale(shop.Release(0), map[ProcessName]ProcessSpec{Web: {Disk: new(int64(1 << 30))}}, false)
	if got := y.s.GapNoticeOf(changes); err != nil || got != "" {
		t.Errorf("a change of the disk says %q, %v", got, err)
	}
	y.do(y.s.Stop(shop.Release(0), true))
	says(d, false, "")

	y = begin(t)
	y.pushed(shop, PushSpec{})
	says(PushSpec{}, false, "")
	says(PushSpec{Strategy: &Strategy{Kind: Recreate}}, true, "")
	says(PushSpec{Strategy: &Strategy{Kind: Recreate}}, false, "shop@r1 ends before shop@r2 starts")
}
