package runtime_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/leader"
	"github.com/protoduction/micro/runtime"
	"github.com/protoduction/micro/runtime/runtimetest"
)

var shop = cloud.AppRef{Group: cloud.DefaultGroup, App: "shop"}

// world is a node whose containers, router and store are in memory. Its process may end and start again; the state,
// the crash counts and the containers stay.
type world struct {
	t      *testing.T
	fault  *runtimetest.Fault
	driver *runtimetest.Driver
	router *runtimetest.Router
	memory *runtimetest.Memory
	images *runtimetest.Images

	mu    sync.Mutex
	state *cloud.State // as stored
	ids   int
	lives int

	// Fields of the current process.
	snapshots *cloud.Cell
	agent     *runtime.Agent
	logs      *runtimetest.Logs
	end       func()
}

// inWorld runs a test in a synctest bubble.
func inWorld(t *testing.T, app func(runtime.Container) runtimetest.App, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, app)
		w.start()
		defer func() { w.end() }()
		test(w)
	})
}

func newWorld(t *testing.T, app func(runtime.Container) runtimetest.App) *world {
	f := &runtimetest.Fault{}
	w := &world{
		t: t, fault: f, driver: runtimetest.NewDriver(f), router: &runtimetest.Router{Fault: f},
		memory: &runtimetest.Memory{Fault: f}, images: &runtimetest.Images{Fault: f}, state: cloud.NewState(),
	}
	w.driver.App = app
	w.state = w.state.Apply(1, append(w.state.Init(w.stamp()), cloud.Put(&cloud.Node{Name: "n1"})))
	return w
}

func (w *world) stamp() cloud.Stamp { return cloud.Stamp{At: time.Now().UTC(), By: "ann"} }

// start starts the process. If the process ends with an error, start starts another.
func (w *world) start() {
	w.snapshots, w.logs = cloud.NewCell(), &runtimetest.Logs{}
	w.snapshots.SetState(w.state)
	w.lives++
	agent := runtime.NewAgent(runtime.Config{
		Node: "n1", Domain: "micro.test", Cores: 2, Driver: w.driver, Images: w.images, Views: w.snapshots,
		Router: w.router, Logs: w.logs, Memory: w.memory,
		Volume: func(a cloud.AppRef, v cloud.Volume) (string, error) {
			return "/volumes/" + a.String() + "/" + v.Name, nil
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Suffix: func() string { w.ids++; return fmt.Sprintf("x%03d", w.ids) },
	})
	agent.Ask(w.driver.Ask)
	w.agent = agent
	rollouts := &leader.Rollouts{Views: w.snapshots, Writer: w, Logs: w.logs, Log: slog.New(slog.DiscardHandler), Warm: leader.DefaultWarm, Now: time.Now}
	ctx, cancel := context.WithCancel(context.Background())
	w.fault.Crash = cancel
	places := &leader.Places{Views: w.snapshots, Writer: w, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	ready, done := make(chan struct{}), make(chan error, 2)
	go func() { done <- agent.Run(ctx, func() { close(ready) }) }()
	go func() {
		select {
		case <-ready:
			done <- leader.Lead(ctx, rollouts, places)
		case <-ctx.Done():
			done <- nil
		}
	}()
	w.end = func() {
		cancel()
		<-done
		<-done
		w.end = func() {}
	}
	synctest.Wait()
	if len(done) > 0 && !w.fault.Dead() { // the process failed at its start
		w.end()
		w.fault.Revive()
		w.start()
	}
}

// restart ends the process and starts another.
func (w *world) restart() {
	w.end()
	w.fault.Revive()
	w.start()
}

// Write implements the leader's writer.
func (w *world) Write(_ context.Context, verb, object string, change func(*cloud.State) ([]cloud.Change, error)) error {
	return w.fault.Do("write "+verb+" "+object, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		changes, err := leader.WithPlaces(w.snapshots.View, change)(w.state)
		if err == nil && len(changes) > 0 {
			w.state = w.state.Apply(w.state.Rev()+1, changes)
			w.snapshots.SetState(w.state)
		}
		return err
	})
}

// change applies changes as a user's request.
func (w *world) change(changes []cloud.Change, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	all, _ := leader.WithPlaces(w.snapshots.View, func(*cloud.State) ([]cloud.Change, error) { return changes, nil })(w.state)
	w.state = w.state.Apply(w.state.Rev()+1, all)
	w.snapshots.SetState(w.state)
	w.mu.Unlock()
	synctest.Wait()
}

func (w *world) push(image string, d cloud.PushSpec) int {
	w.t.Helper()
	changes, ref, err := w.state.Push(cloud.Push{App: shop, Spec: d, Built: cloud.Built{Image: cloud.Image{Digest: image}}}, w.stamp())
	w.change(changes, err)
	return ref.N
}

// after lets time pass.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) app() *cloud.App {
	app, _ := w.state.App(shop)
	return app
}

func (w *world) release(n int) *cloud.Release {
	rel, ok := w.state.Release(shop.Release(n))
	if !ok {
		w.t.Fatalf("no release r%d", n)
	}
	return rel
}

// runs lists the running instances: "web.0@r1 web.1@r1".
func (w *world) runs() string {
	var all []string
	for _, c := range w.driver.Running() {
		all = append(all, fmt.Sprintf("%s.%s@r%s", c.Labels["micro.process"], c.Labels["micro.index"], c.Labels["micro.release"]))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// seen lists the observed instances: "web.0@r1 ready".
func (w *world) seen() string {
	var all []string
	for i := range w.snapshots.View().Instances.All() {
		all = append(all, fmt.Sprintf("%s.%d@r%d %s", i.Process, i.Index, i.N, i.Phase))
	}
	return strings.Join(all, ", ")
}

func (w *world) is(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %q, want %q\ncalls:\n%s", what, got, want, strings.Join(w.fault.Calls(), "\n"))
	}
}

func (w *world) starts() int {
	n := 0
	for _, c := range w.fault.Calls() {
		if strings.HasPrefix(c, "start ") {
			n++
		}
	}
	return n
}

// web returns a PushSpec with a number of web instances.
func web(instances int) cloud.PushSpec {
	return cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{cloud.Web: {Instances: new(instances)}}}
}

// byImage makes containers behave according to their image.
func byImage(apps map[string]runtimetest.App) func(runtime.Container) runtimetest.App {
	apps = maps.Clone(apps)
	return func(c runtime.Container) runtimetest.App { return apps[c.Image] }
}
