package leader_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/cloud/cloudtest"
	"github.com/protoduction/micro/leader"
)

func TestAdvance(t *testing.T) {
	const rolling = "app shop current=1 rollout=2 released\nrelease shop@r1 web=1 up\n"
	command := "app shop current=1 rollout=2\nrelease shop@r1 web=1 up\nrelease shop@r2 web=1 command"
	exit := func(code int, oom bool) func(cloud.View) cloud.View {
		return func(v cloud.View) cloud.View {
			slot := cloud.Slot{ReleaseRef: shop.Release(2), Process: cloud.ReleaseCommand}
			i := &cloud.Instance{ID: "c", Slot: slot, Phase: cloud.InstanceExited, Node: "n1", Exit: &cloud.Exit{Code: code, OOM: oom, At: noon}}
			v.Instances = v.Instances.With(i)
			return v
		}
	}
	crashes := func(count int, fatal bool, at time.Duration) func(cloud.View) cloud.View {
		return func(v cloud.View) cloud.View {
			slot := cloud.Slot{ReleaseRef: shop.Release(2), Process: cloud.Web}
			v.Instances = v.Instances.WithCrashes(&cloud.Crashes{Slot: slot, Count: count, Fatal: fatal, Last: cloud.Exit{Code: 3, At: noon.Add(at)}, Reason: "exited with code 3"})
			return v
		}
	}
	// The second try answers, a moment after the first one ended.
	again := func(v cloud.View) cloud.View {
		v = crashes(1, false, time.Second)(v)
		for i := range v.Instances.OfRelease(shop.Release(2)) {
			ready := *i
			ready.Since = noon.Add(2 * time.Second)
			v.Instances = v.Instances.With(&ready)
		}
		return v
	}
	for _, c := range []struct {
		name, state, seen string
		with              func(cloud.View) cloud.View
		at                time.Duration // after the roll-out began
		want              string
	}{
		{"starting", rolling + "release shop@r2 web=2", "web.0@r2 ready\nweb.1@r2 starting", nil, 0, ""},
		{"up", rolling + "release shop@r2 web=2", "web.0@r2 ready\nweb.1@r2 ready", nil, 0, "settled shop@r2"},
		{"up, unready", rolling + "release shop@r2 web=1", "web.0@r2 unready", nil, 0, ""},
		{"up, all but the worker", rolling + "release shop@r2 web=1 worker=1", "web.0@r2 ready", nil, 0, ""},
		{"up, of an older generation", rolling + "release shop@r2 web=1 gen=1", "web.0@r2 ready", nil, 0, ""},
		{"up, of an older app", rolling + "release shop@r2 web=1", "web.0@r2 ready older", nil, 0, ""},
		{"nothing to start", rolling + "release shop@r2 web=0", "", nil, 0, "settled shop@r2"},
		{"back to a warm one", rolling + "release shop@r2 web=1 up warm", "web.0@r2 ready", nil, 0, "settled shop@r2"},
		{"crashed twice", rolling + "release shop@r2 web=1", "", crashes(2, false, time.Second), 2 * time.Second, ""},
		{"crashed three times", rolling + "release shop@r2 web=1", "", crashes(3, false, time.Second), 2 * time.Second, "failed shop@r2: web.0 exited with code 3"},
		{"crashed three times before", rolling + "release shop@r2 web=1", "", crashes(3, false, -time.Second), 2 * time.Second, ""},
		{"crashed three times, and came up", rolling + "release shop@r2 web=1", "web.0@r2 ready", crashes(3, false, time.Second), 2 * time.Second, "settled shop@r2"},
		{"crashed, and has just come up", rolling + "release shop@r2 web=1", "web.0@r2 ready", again, 3 * time.Second, ""},
		{"crashed, and came up to stay", rolling + "release shop@r2 web=1", "web.0@r2 ready", again, 7 * time.Second, "settled shop@r2"},
		{"hangs", rolling + "release shop@r2 web=1", "", crashes(1, true, time.Second), 2 * time.Second, "failed shop@r2: web.0 exited with code 3"},
		{"too late", rolling + "release shop@r2 web=3", "web.0@r2 ready", nil, time.Hour, "failed shop@r2: 2 of 3 instances were not ready in time"},
		{"in time", rolling + "release shop@r2 web=3", "web.0@r2 ready", nil, time.Minute, ""},
		{"command runs", command, "release.0@r2 ready", nil, time.Minute, ""},
		{"command ended well", command, "", exit(0, false), time.Minute, "released shop@r2"},
		{"command failed", command, "", exit(1, false), time.Minute, "failed shop@r2: the release command exited with code 1"},
		{"command too large", command, "", exit(137, true), time.Minute, "failed shop@r2: the release command ran out of memory"},
		{"command too long", command, "release.0@r2 starting", nil, 15*time.Minute + 1, "failed shop@r2: the release command has not ended within 15m0s"},
		{"staged, up", "app shop current=1\nrelease shop@r1 web=1 up\nrelease shop@r2 web=1 staged", "web.0@r2 ready", nil, 0, "up shop@r2"},
		{"staged, crashed", "app shop current=1\nrelease shop@r1 web=1 up\nrelease shop@r2 web=1 staged", "", crashes(3, false, time.Second), 2 * time.Second, "failed shop@r2: web.0 exited with code 3"},
		{"staged, was up", "app shop current=1\nrelease shop@r1 web=1 up\nrelease shop@r2 web=1 staged up", "", crashes(9, true, time.Second), time.Hour, ""},
		{"staged, stopped", "app shop current=1\nrelease shop@r1 web=1 up\nrelease shop@r2 web=1 staged stopped", "", nil, time.Hour, ""},
		{"warm", "app shop current=2\nrelease shop@r1 web=1 up warm\nrelease shop@r2 web=1 up", "", nil, time.Minute - 1, ""},
		{"warm no more", "app shop current=2\nrelease shop@r1 web=1 up warm\nrelease shop@r2 web=1 up", "", nil, time.Minute, "cooled shop@r1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := cloudtest.View(t, c.state, c.seen)
			if c.with != nil {
				v = c.with(v)
			}
			decisions, again := leader.Advance(v, shop, noon.Add(c.at))
			var got []string
			for _, d := range decisions {
				text := fmt.Sprintf("%s %s", d.Verdict, d.Release)
				if d.Verdict == leader.Failed {
					text += ": " + d.Failure.Reason
					if !strings.HasPrefix(d.Failure.Hint, "micro ") {
						t.Errorf("hint %q", d.Failure.Hint)
					}
				}
				got = append(got, text)
			}
			if all := strings.Join(got, "\n"); all != c.want && (c.want == "" || !strings.HasPrefix(all, c.want)) {
				t.Errorf("decided %q, want %q", all, c.want)
			}
			if c.want == "" && strings.Contains(c.state, "rollout") && again.IsZero() {
				t.Error("nothing brings an end to it")
			}
		})
	}
}
