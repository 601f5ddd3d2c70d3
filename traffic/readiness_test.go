package traffic

import (
	"net/netip"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

func TestInspect(t *testing.T) {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := cloud.Stamp{At: noon, By: "ann"}
	shop := cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}
	s := cloud.NewState()
	do := func(changes []cloud.Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s = s.Apply(s.Rev()+1, changes)
	}
	do(s.Init(at), nil)
	two := 2
	push := func(stage bool) {
		changes, _, err := s.Push(cloud.Push{App: shop, Stage: stage,
			Spec:  cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Instances: &two}}},
			Built: cloud.Built{Image: cloud.Image{Digest: "sha256:1", Name: "one"}}}, at)
		do(changes, err)
	}
	push(false)
	do(s.FinishRollout(shop, noon, at), nil)
	push(true)
	do(s.MarkUp(shop.Release(2)), nil)
	fade := &cloud.Crossfade{From: shop.Release(1), To: shop.Release(2), Steps: []int{50, 100}, Step: 1, Started: noon.Add(-time.Hour)}

	slot := func(release, index int) cloud.Slot {
		return cloud.Slot{ReleaseRef: shop.Release(release), Process: cloud.Web, Index: index}
	}
	seen := func(o *cloud.Instances, release, index int, phase cloud.InstancePhase, generation int) *cloud.Instances {
		sl := slot(release, index)
		return o.With(&cloud.Instance{ID: cloud.InstanceID(sl.String() + string(phase)), Slot: sl, Phase: phase, Generation: generation, Addr: netip.MustParseAddrPort("10.0.0.1:80")})
	}
	crashed := func(o *cloud.Instances, index int, again time.Duration) *cloud.Instances {
		return o.WithCrashes(&cloud.Crashes{Slot: slot(2, index), Reason: "exited with code 1", NextTry: noon.Add(again)})
	}
	fails := func(o *cloud.Instances, release, count int, oom bool) *cloud.Instances {
		return o.WithCrashes(&cloud.Crashes{Slot: slot(release, 0), Count: count, Last: cloud.Exit{Code: 1, OOM: oom, At: noon.Add(-time.Minute)}})
	}
	old := seen(cloud.NewInstances(), 1, 0, cloud.InstanceReady, 0)
	half := seen(old, 2, 0, cloud.InstanceReady, 0)
	const crashes = "no instance of shop@r2 runs: exited with code 1"
	for _, c := range []struct {
		name string
		o    *cloud.Instances
		want Readiness
	}{
		{"nothing is seen yet", cloud.NewInstances(), Readiness{}},
		{"only the old one is there", old, Readiness{Back: true}},
		{"one of two is ready", half, Readiness{Back: true}},
		{"both are", seen(half, 2, 1, cloud.InstanceReady, 0), Readiness{Up: true, Back: true}},
		{"both are, one to be replaced", seen(half, 2, 1, cloud.InstanceReady, -1), Readiness{Back: true}},
		{"one crashes again and again", fails(seen(half, 2, 1, cloud.InstanceReady, 0), 2, 3, false),
			Readiness{Up: true, Back: true, Gone: "instance shop/web.0@r2 has crashed 3 times in a row: exited with code 1"}},
		{"once is no loop", fails(seen(half, 2, 1, cloud.InstanceReady, 0), 2, 1, false), Readiness{Up: true, Back: true}},
		{"one ran out of memory", fails(seen(half, 2, 1, cloud.InstanceReady, 0), 2, 1, true),
			Readiness{Up: true, Back: true, Gone: "instance shop/web.0@r2 ran out of memory: it has been killed at its limit"}},
		{"but the old one does the same", fails(fails(seen(half, 2, 1, cloud.InstanceReady, 0), 2, 1, true), 1, 1, true), Readiness{Up: true, Back: true}},
		{"one starts", seen(old, 2, 1, cloud.InstanceStarting, 0), Readiness{Back: true}},
		{"one crashes and the other is ready", crashed(half, 1, time.Minute), Readiness{Back: true}},
		{"one crashes and the other starts", crashed(seen(old, 2, 0, cloud.InstanceStarting, 0), 1, time.Minute), Readiness{Back: true}},
		{"one crashes and the other is to be started", crashed(old, 1, time.Minute), Readiness{Back: true}},
		{"both crashed, one is tried again now", crashed(crashed(old, 0, time.Minute), 1, 0), Readiness{Back: true}},
		{"both crash", crashed(crashed(old, 0, time.Minute), 1, time.Minute), Readiness{Back: true, Gone: crashes}},
		{"both crash, one ends still", crashed(crashed(seen(old, 2, 0, cloud.InstanceStopping, 0), 0, time.Minute), 1, time.Minute), Readiness{Back: true, Gone: crashes}},
	} {
		if got := Inspect(cloud.View{State: s, Instances: c.o}, fade, noon); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	do(s.Stop(shop.Release(2), false))
	if got := Inspect(cloud.View{State: s, Instances: old}, fade, noon); got.Gone != "shop@r2 does not run" || got.Up {
		t.Errorf("stopped: %+v", got)
	}
}
