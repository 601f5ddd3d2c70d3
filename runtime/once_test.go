package runtime_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/runtimetest"
)

func TestRunOnce(t *testing.T) {
	apps := func(c runtime.Container) runtimetest.App {
		if strings.HasPrefix(c.ID, "run-") {
			return runtimetest.App{Exits: time.Minute, Code: 7}
		}
		return runtimetest.App{}
	}
	inWorld(t, apps, func(w *world) {
		w.push("one", web(1))
		w.after(time.Second)
		code, err := w.agent.RunOnce(context.Background(), shop.Release(0), "", 64<<20, runtime.Command{Args: []string{"sh"}, Env: []string{"A=1"}})
		if code != 7 || err != nil {
			t.Errorf("ended with %d, %v", code, err)
		}
		w.is("runs", w.runs(), "web.0@r1")
		// The command ends with its caller.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := w.agent.RunOnce(ctx, shop.Release(0), "", 0, runtime.Command{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		w.is("runs", w.runs(), "web.0@r1")
		if _, err := w.agent.RunOnce(ctx, shop.Release(0), "worker", 0, runtime.Command{}); cloud.CodeOf(err) != cloud.NotFound {
			t.Errorf("ended with %v", err)
		}
		// If micro ends first, the next process removes the container.
		if _, err := w.driver.Start(context.Background(), runtime.Container{ID: "run-x", Labels: map[string]string{"micro.once": "shop@r1"}}); err != nil {
			t.Fatal(err)
		}
		w.restart()
		if ids := w.driver.IDs(); len(ids) != 1 {
			t.Errorf("containers are %v", ids)
		}
	})
}

func TestWhatAContainerGets(t *testing.T) {
	var made runtime.Container
	apps := func(c runtime.Container) runtimetest.App {
		made = c
		return runtimetest.App{}
	}
	inWorld(t, apps, func(w *world) {
		d := web(1)
		p := d.Processes[cloud.Web]
		p.Memory, p.CPU = new(int64(64<<20)), new(int64(99_000))
		d.Processes[cloud.Web] = p
		d.Env = map[string]string{"A": "1", "LANG": "de_DE"}
		d.Volumes = []cloud.Volume{{Name: "data", Path: "/data"}}
		w.push("one", d)
		w.after(time.Second)
		for _, want := range []string{"MICRO_APP=shop", "MICRO_GROUP=default", "MICRO_RELEASE=r1", "PORT=8080", "MEMORY_LIMIT=64m", "VCAP_SERVICES={}", "CF_INSTANCE_INDEX=0"} {
			if !slices.Contains(made.Env, want) {
				t.Errorf("%s is missing in %v", want, made.Env)
			}
		}
		if want := []string{"A=1", "LANG=de_DE"}; !slices.Equal(made.Secrets, want) {
			t.Errorf("the release's environment is %v, want %v", made.Secrets, want)
		}
		if !slices.IsSorted(made.Env) {
			t.Errorf("the order of the environment is left to chance: %v", made.Env)
		}
		if made.Memory != 64<<20 || made.CPU != 2000 || made.Pids == 0 || made.Shim != "default.shop.r1" || made.Mounts[0] != (runtime.Mount{Source: "/volumes/shop/data", Target: "/data"}) {
			t.Errorf("made %+v", made)
		}
	})
}
