package runtime_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/runtimetest"
)

// TestVerbsSurviveEveryFault scales, rolls back, restarts and stops an app, and makes each call fail or the process
// crash there: the written state must be reached in the end.
func TestVerbsSurviveEveryFault(t *testing.T) {
	memory := int64(256 << 20)
	for _, verb := range []struct {
		name string
		do   func(w *world)
		want string // what runs in the end
		// strategy of the running release, if it is not the default.
		strategy *cloud.Strategy
	}{
		{"scale up", func(w *world) {
			w.change(w.state.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Instances: new(3)}}, false))
		}, "web.0@r2 web.1@r2 web.2@r2", nil},
		{"scale down", func(w *world) {
			w.change(w.state.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Instances: new(1)}}, false))
		}, "web.0@r2", nil},
		{"other memory", func(w *world) {
			w.change(w.state.Scale(shop.Release(0), map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Memory: &memory}}, false))
		}, "web.0@r2 web.1@r2", nil},
		{"restart", func(w *world) { w.change(w.state.Restart(shop.Release(0))) }, "web.0@r2 web.1@r2", nil},
		{"restart without surge", func(w *world) { w.change(w.state.Restart(shop.Release(0))) }, "web.0@r2 web.1@r2", &cloud.Strategy{Kind: cloud.Rolling, Surge: new(0)}},
		{"roll-back", func(w *world) {
			changes, _, err := w.state.Rollback(shop, 0, w.stamp())
			w.change(changes, err)
		}, "web.0@r1 web.1@r1", nil},
		{"stop", func(w *world) { w.change(w.state.Stop(shop.Release(0), false)) }, "", nil},
	} {
		run := func(name string, arm func(f *runtimetest.Fault, base int)) (calls int) {
			t.Run(verb.name+"/"+name, func(t *testing.T) {
				inWorld(t, func(runtime.Container) runtimetest.App { return runtimetest.App{Boots: 300 * time.Millisecond} }, func(w *world) {
					w.push("one", web(2))
					w.after(2 * time.Second)
					two := web(2)
					two.Strategy = verb.strategy
					w.push("two", two)
					w.after(leader.DefaultWarm + time.Minute) // r1 no longer runs
					arm(w.fault, len(w.fault.Calls()))
					base := len(w.fault.Calls())
					verb.do(w)
					for range 60 {
						w.after(30 * time.Second)
						if w.fault.Dead() {
							w.restart()
						}
					}
					calls = len(w.fault.Calls()) - base
					if got := w.runs(); got != verb.want {
						t.Errorf("%q runs, want %q\ncalls:\n%s", got, verb.want, strings.Join(w.fault.Calls(), "\n"))
					}
					if got, want := len(w.driver.IDs()), len(strings.Fields(verb.want)); got != want {
						t.Errorf("%d containers are there, want %d: %v", got, want, w.driver.IDs())
					}
				})
			})
			return calls
		}
		calls := run("none", func(*runtimetest.Fault, int) {})
		if calls < 2 {
			t.Fatalf("%s: %d calls", verb.name, calls)
		}
		for k := 1; k <= calls; k++ {
			run(fmt.Sprintf("fail at %d", k), func(f *runtimetest.Fault, base int) { f.FailAt = base + k })
			run(fmt.Sprintf("crash at %d", k), func(f *runtimetest.Fault, base int) { f.CrashAt = base + k })
			run(fmt.Sprintf("crash after %d", k), func(f *runtimetest.Fault, base int) { f.CrashAt, f.After = base+k, true })
		}
	}
}
