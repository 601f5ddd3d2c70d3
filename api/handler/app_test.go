package handler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/deploy/deploytest"
)

// settled waits for a release and returns how it stands.
func (s *served) settled(t *testing.T, app cloud.AppName, n int) (out api.Outcome, err error) {
	t.Helper()
	for e, err := range s.Wait(t.Context(), ref(app).Release(n), false) {
		if err != nil {
			return out, err
		}
		if e.Outcome != nil {
			return *e.Outcome, nil
		}
	}
	t.Fatal("no end")
	return out, nil
}

// The life of an app, as its user sees it.
func TestLifeOfAnApp(t *testing.T) {
	s := newServed(t)
	ctx, shop := t.Context(), ref("shop")
	s.pushed(t, "shop", api.PushRequest{Spec: cloud.PushSpec{Env: map[string]string{"A": "1"}}})

	changed, err := s.SetEnv(ctx, shop, api.EnvChange{Set: map[string]string{"B": "secret"}, Unset: []string{"A"}})
	if err != nil || changed.Release != 2 {
		t.Fatal(changed, err)
	}
	if out, err := s.settled(t, "shop", 2); err != nil || out.Phase != cloud.PhaseCurrent {
		t.Fatal(out, err)
	}
	env, err := s.Env(ctx, shop.Release(0))
	if err != nil || env.Release != 2 || len(env.Env) != 1 || env.Env["B"] != "secret" {
		t.Errorf("env %+v, %v", env, err)
	}
	diff, err := s.Diff(ctx, shop, 1, 2)
	if err != nil || fmt.Sprint(diff) != "[{env.A set } {env.B  set}]" {
		t.Errorf("diff %v, %v", diff, err)
	}
	three := 3
	if changed, err = s.Scale(ctx, shop, api.ScaleChange{Processes: map[cloud.ProcessName]api.ScaleTo{"web": {Instances: &three}}}); err != nil || changed.Release != 2 {
		t.Fatal(changed, err)
	}
	if _, err := s.settled(t, "shop", 2); err != nil {
		t.Fatal(err)
	}
	app, err := s.App(ctx, shop)
	if err != nil || app.Ready != 3 || app.Instances != 3 || app.Phase != cloud.PhaseCurrent || app.Addresses[0] != "http://shop.micro.test" {
		t.Errorf("app %+v, %v", app, err)
	}
	if changed, err = s.Restart(ctx, shop.Release(0)); err != nil || changed.Release != 2 {
		t.Fatal(changed, err)
	}
	if _, err := s.settled(t, "shop", 2); err != nil {
		t.Fatal(err)
	}
	list, err := s.Instances(ctx, "", api.InstanceQuery{App: "shop", Release: 2, Stats: true})
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	for n, i := range list {
		if i.Index != n || i.Phase != "ready" || i.PID != 4711 || i.Address == "" || *i.CPU != 1.5 || *i.Memory != 1<<20 || !strings.HasSuffix(string(i.Instance), "g1") {
			t.Errorf("instance %d: %+v", n, i)
		}
	}
	if changed, err = s.Rollback(ctx, shop.Release(0)); err != nil || changed.Release != 1 {
		t.Fatal(changed, err)
	}
	if out, err := s.settled(t, "shop", 1); err != nil || out.Release != 1 || out.Phase != cloud.PhaseCurrent {
		t.Fatal(out, err)
	}
	if _, err := s.Promote(ctx, shop.Release(2), false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.settled(t, "shop", 2); err != nil {
		t.Fatal(err)
	}
	releases, err := s.Releases(ctx, shop)
	if err != nil || len(releases) != 2 || releases[0].Release != 2 || releases[0].Phase != cloud.PhaseCurrent || releases[1].Phase != cloud.PhaseWarm {
		t.Errorf("releases %+v, %v", releases, err)
	}
	if _, err := s.Stop(ctx, shop.Release(0), false); err != nil {
		t.Fatal(err)
	}
	if out, err := s.settled(t, "shop", 2); err != nil || out.Phase != cloud.PhaseStopped {
		t.Fatal(out, err)
	}
	_, err = s.Restart(ctx, shop.Release(0))
	wantCode(t, err, cloud.Conflict, "micro start")
	if _, err := s.Start(ctx, shop.Release(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.settled(t, "shop", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(ctx, shop.Release(2), false); cloud.CodeOf(err) != cloud.Conflict {
		t.Errorf("the current release was deleted: %v", err)
	}
	if _, err := s.Delete(ctx, shop.Release(0), false); err != nil {
		t.Fatal(err)
	}
	_, err = s.App(ctx, shop)
	wantCode(t, err, cloud.NotFound, "shop", "micro apps")
	if !slices.Contains(s.f.Audit(), "root scale shop") || !slices.Contains(s.f.Audit(), "root push shop") {
		t.Errorf("audit %q", s.f.Audit())
	}
}

func TestRoutes(t *testing.T) {
	s := newServed(t)
	ctx := t.Context()
	s.pushed(t, "shop", api.PushRequest{})
	s.pushed(t, "blog", api.PushRequest{})
	ten := 10
	for _, m := range []api.Mapping{
		{Host: "WWW.Example.com.", App: "shop"},
		{Host: "www.example.com", App: "blog", Weight: &ten},
		{Host: "www.example.com", Path: "/api/", App: "blog", Release: 1, Public: true},
	} {
		if _, err := s.Map(ctx, "", m); err != nil {
			t.Fatal(err)
		}
	}
	for want, m := range map[string]api.Mapping{
		"address of app blog":                {Host: "blog.micro.test", App: "shop"},
		"address of the API":                 {Host: "api.micro.test", App: "shop"},
		"address of every app of the domain": {Host: "*.micro.test", App: "shop"},
		"address of release":                 {Host: s.releaseHost(t, "blog"), App: "shop"},
		"label \"x_y\"":                      {Host: "x_y.example.com", App: "shop"},
		"no app \"none\"":                    {Host: "x.example.com", App: "none"},
		"no release r9":                      {Host: "x.example.com", App: "shop", Release: 9},
		"is not a route's path":              {Host: "x.example.com", Path: "/a/../b", App: "shop"},
	} {
		if _, err := s.Map(ctx, "", m); err == nil || !contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", m, err, want)
		}
	}
	if _, err := s.Traffic(ctx, "", api.Weights{Host: "www.example.com", Targets: []api.Weight{{App: "shop", Weight: 1}, {App: "blog", Weight: 3}}}); err != nil {
		t.Fatal(err)
	}
	routes, err := s.Routes(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range routes {
		line := fmt.Sprintf("%s%s %s own=%v", r.Host, r.Path, r.Exposure, r.Own)
		for _, t := range r.Targets {
			line += fmt.Sprintf(" %s@%d", t.App, t.Release)
			if t.Weight != nil {
				line += fmt.Sprintf("=%d", *t.Weight)
			}
			line += fmt.Sprintf("/%d", t.Ready)
		}
		lines = append(lines, line)
	}
	mapped := lines[len(lines)-2:]
	if len(lines) != 6 || mapped[0] != "www.example.com/api public own=false blog@1/1" || mapped[1] != "www.example.com/ public own=false blog@0=3/1 shop@0=1/1" {
		t.Errorf("routes\n%s", strings.Join(lines, "\n"))
	}
	_, err = s.Unmap(ctx, "", api.Unmapping{Host: "www.example.com", Path: "/api", App: "blog", Release: 1})
	wantCode(t, err, cloud.Conflict, "last target", "--yes")
	if _, err := s.Unmap(ctx, "", api.Unmapping{Host: "www.example.com", ReleaseHost: true, Force: true}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Swap(ctx, "", api.Swap{A: "www.example.com", B: "b.example.com"})
	wantCode(t, err, cloud.NotFound, "www.example.com")
}

func (s *served) releaseHost(t *testing.T, app cloud.AppName) string {
	t.Helper()
	rel, err := s.Release(t.Context(), ref(app).Release(1))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(rel.Addresses[0], "http://")
}

// Lists come in pages, and the client puts them together.
func TestPages(t *testing.T) {
	s := newServed(t)
	const n = 2500
	_, err := s.f.Update(t.Context(), cloud.Actor{}, "fill", "", func(*cloud.State) (changes []cloud.Change, err error) {
		for i := range n {
			changes = append(changes, cloud.Put(&cloud.App{AppRef: ref(cloud.AppName(fmt.Sprintf("app-%d", i)))}))
		}
		return changes, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	apps, err := s.Apps(t.Context(), "default")
	if err != nil || len(apps) != n {
		t.Fatal(len(apps), err)
	}
	seen := map[cloud.AppName]bool{}
	for _, a := range apps {
		seen[a.Name] = true
	}
	if len(seen) != n {
		t.Errorf("%d different apps", len(seen))
	}
}

func TestSmallReads(t *testing.T) {
	s := newServed(t)
	ctx := t.Context()
	s.pushed(t, "shop", api.PushRequest{})
	if v, err := s.Version(ctx); err != nil || v.API != "v1" {
		t.Error(v, err)
	}
	if n, err := s.Node(ctx); err != nil || n.Name != "n1" {
		t.Error(n, err)
	}
	if d, err := s.Disk(ctx); err != nil {
		t.Error(d, err)
	}
	if p, err := s.Prune(ctx); err != nil || p.Bytes != 7 {
		t.Error(p, err)
	}
	if images, err := s.Images(ctx); err != nil || len(images) != 1 || !slices.Equal(images[0].Used, []string{"shop@r1"}) {
		t.Error(images, err)
	}
	if i, err := s.LoadImage(ctx, strings.NewReader("tar")); err != nil || i.Digest != deploytest.Image.Digest {
		t.Error(i, err)
	}
	s.f.lines = func(yield func(api.LogLine, error) bool) {
		_ = yield(api.LogLine{App: "shop", Group: "default", Process: "web", Index: 2, Release: 7, Stream: api.StreamApp, Text: "hi\x1b[2J"}, nil)
	}
	n := 0
	for l, err := range s.Logs(ctx, api.LogQuery{App: ref("shop"), Tail: -1}) {
		if n++; err != nil || l.Text != "hi\x1b[2J" || !strings.HasSuffix(l.String(), `Z shop/web.2@r7 | hi\x1b[2J`) {
			t.Error(l, err)
		}
	}
	if n != 1 {
		t.Errorf("%d lines", n)
	}
}

// Lines of a process that there never was are none to wait for.
func TestLogsOfNoProcess(t *testing.T) {
	s := newServed(t)
	s.f.lines = func(func(api.LogLine, error) bool) {}
	worker := cloud.ProcessSpec{Command: new("work")}
	s.pushed(t, "shop", api.PushRequest{Spec: cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{"worker": worker}}})
	s.pushed(t, "shop", api.PushRequest{Spec: cloud.PushSpec{Cron: []cloud.Job{{Schedule: "* * * * *", Command: "tick"}}}})
	for _, c := range []struct {
		release int
		process cloud.ProcessName
		says    string
	}{
		{0, "web", ""}, {0, "worker", ""}, {0, "cron", ""}, {1, "worker", ""}, {2, "cron", ""},
		{0, "nope", `app shop has no process "nope", only [cron web worker]`},
		{1, "cron", `release shop@r1 has no process "cron", only [web worker]`},
	} {
		for _, err := range s.Logs(t.Context(), api.LogQuery{App: ref("shop"), Release: c.release, Process: c.process, Tail: -1}) {
			if c.says == "" {
				t.Errorf("%+v: %v", c, err)
				continue
			}
			wantCode(t, err, cloud.NotFound, c.says, "micro app shop")
			c.says = ""
		}
		if c.says != "" {
			t.Errorf("%+v: nothing was said", c)
		}
	}
}

// Whoever waits for a release whose instances keep ending is told.
func TestWaitForACrashLoop(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "shop", api.PushRequest{})
	slot := cloud.Slot{ReleaseRef: ref("shop").Release(1), Process: "web", Index: 1}
	s.f.OnRollout(func(*cloud.State, *cloud.Release) []cloud.Change { return nil }) // nothing more becomes ready
	two := 2
	if _, err := s.Scale(t.Context(), ref("shop"), api.ScaleChange{Processes: map[cloud.ProcessName]api.ScaleTo{"web": {Instances: &two}}}); err != nil {
		t.Fatal(err)
	}
	began := false
	for e, err := range s.Wait(t.Context(), slot.ReleaseRef, false) {
		if err != nil {
			wantCode(t, err, cloud.DeployFailed, "web.1", "exited with code 3", "micro logs shop@r1 --process web")
			return
		}
		if !began && e.Rollout != nil && e.Rollout.Instances == 2 {
			began = true
			s.f.Observe(func(o *cloud.Instances) *cloud.Instances {
				return o.WithCrashes(&cloud.Crashes{Slot: slot, Count: 3, Total: 3, Last: cloud.Exit{Code: 3, At: time.Now()}})
			})
		}
	}
	t.Error("it ended well")
}
