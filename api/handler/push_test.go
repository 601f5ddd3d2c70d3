package handler

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/deploy/deploytest"
	"github.com/protoduction/micro/runtime"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

// noUploads fails where a push has left something behind.
func noUploads(t *testing.T, dir string) {
	t.Helper()
	for range 200 {
		left, err := os.ReadDir(filepath.Join(dir, "uploads"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("an upload was left behind")
}

func TestPushOfAnImage(t *testing.T) {
	s := newServed(t)
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Image: "web:1"})
	if err != nil {
		t.Fatal(err)
	}
	var phases []api.PushPhase
	var out *api.Outcome
	progress, rollouts, seq := 0, 0, 0
	for e, err := range s.PushEvents(t.Context(), p.ID, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if seq++; e.Seq != seq {
			t.Errorf("event %d has number %d", seq, e.Seq)
		}
		if e.Phase != "" {
			phases = append(phases, e.Phase)
		}
		if e.Progress != nil {
			progress++
		}
		if e.Rollout != nil {
			rollouts++
		}
		out = e.Outcome
	}
	if len(phases) != 2 || progress != 1 || rollouts < 1 {
		t.Errorf("phases %v, %d progress, %d rollouts", phases, progress, rollouts)
	}
	if out == nil || out.Release != 1 || out.Phase != cloud.PhaseCurrent || len(out.Addresses) != 2 || out.Addresses[0] != "http://shop.micro.test" {
		t.Errorf("outcome %+v", out)
	}
	now, err := s.PushByID(t.Context(), p.ID)
	if err != nil || now.Phase != api.PushDone || now.Release != 1 {
		t.Errorf("afterwards %+v, %v", now, err)
	}
	noUploads(t, s.dir)
}

func TestPushOfAFolder(t *testing.T) {
	s := newServed(t)
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Source: &api.Source{}, Name: "shop/"})
	if err != nil || p.Phase != api.PushUploading {
		t.Fatal(p, err)
	}
	if _, err := s.Upload(t.Context(), p.ID, strings.NewReader("FROM scratch")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.last(t, p.ID); err != nil {
		t.Fatal(err)
	}
	_, err = s.Upload(t.Context(), p.ID, strings.NewReader("FROM scratch"))
	wantCode(t, err, cloud.Conflict, "already")
	var lines []string
	for l, err := range s.Logs(t.Context(), api.LogQuery{App: ref("shop"), Streams: []api.LogStream{api.StreamBuild}, Tail: -1}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l.Text)
	}
	if got := strings.Join(lines, "|"); got != "#1 [1/1] FROM scratch|#1 hello|#1 world" {
		t.Errorf("the build's log is %q", got)
	}
	if _, err := s.SetEnv(t.Context(), ref("shop"), api.EnvChange{Set: map[string]string{"A": "b"}}); err != nil {
		t.Fatal(err)
	}
	for l, err := range s.Logs(t.Context(), api.LogQuery{App: ref("shop"), Streams: []api.LogStream{api.StreamBuild}, Tail: -1}) {
		if err != nil || l.Release != 1 {
			t.Errorf("of a release with its parent's image: %+v, %v", l, err)
		}
	}
	s.pushed(t, "pulled", api.PushRequest{})
	rel, err := s.Release(t.Context(), ref("shop").Release(1))
	if err != nil || rel.Image != "shop/" {
		t.Errorf("release %+v, %v", rel, err)
	}
	noUploads(t, s.dir)
}

func TestPushOfAnArchive(t *testing.T) {
	s := newServed(t)
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Archive: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), p.ID, strings.NewReader(strings.Repeat("x", 3<<20))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.last(t, p.ID); err != nil {
		t.Fatal(err)
	}
	noUploads(t, s.dir)
}

func TestPushRefusedBeforeAnythingIsSent(t *testing.T) {
	s := newServed(t)
	few, big := -1, 70000
	draft := cloud.PushSpec{Processes: map[cloud.ProcessName]cloud.ProcessSpec{"web": {Instances: &few, Port: &big}}}
	for name, c := range map[string]struct {
		app   cloud.AppName
		d     api.PushRequest
		code  cloud.Code
		words []string
	}{
		"no source":       {"shop", api.PushRequest{}, cloud.Invalid, []string{"one of image, source and archive"}},
		"two sources":     {"shop", api.PushRequest{Image: "x", Archive: true}, cloud.Invalid, []string{"not 2"}},
		"name":            {"Shop_1", api.PushRequest{Image: "x"}, cloud.Invalid, []string{"invalid app name"}},
		"several at once": {"shop", api.PushRequest{Spec: draft}, cloud.Invalid, []string{"port 70000", "-1 instances", "one of image"}},
		"outside":         {"shop", api.PushRequest{Source: &api.Source{Dockerfile: "../x"}}, cloud.Invalid, []string{"outside"}},
		"control bytes":   {"sh\x1b]0;x\x07op", api.PushRequest{Image: "x"}, cloud.Invalid, []string{`\x1b]0;`}},
	} {
		_, err := s.Push(t.Context(), ref(c.app), c.d)
		t.Log(name)
		wantCode(t, err, c.code, c.words...)
		if err != nil && strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: a control byte came through", name)
		}
	}
	_, err := s.Push(t.Context(), cloud.AppRef{Group: "qa", App: "shop"}, api.PushRequest{Image: "x"})
	wantCode(t, err, cloud.NotFound, "qa")
}

func TestPushFailures(t *testing.T) {
	s := newServed(t)
	s.f.Making = func(ctx context.Context, b runtime.Build) (runtime.Image, error) {
		return runtime.Image{}, cloud.Errorf(cloud.DeployFailed, "step [2/3] RUN make failed\nmake: *** no rule")
	}
	for name, c := range map[string]struct {
		upload string
		code   cloud.Code
		words  []string
	}{
		"build":         {"FROM scratch", cloud.DeployFailed, []string{"RUN make", "no rule"}},
		"no Dockerfile": {"empty", cloud.Invalid, []string{"no Dockerfile", "--image"}},
	} {
		t.Log(name)
		p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Source: &api.Source{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Upload(t.Context(), p.ID, strings.NewReader(c.upload)); err != nil {
			t.Fatal(err)
		}
		_, err = s.last(t, p.ID)
		wantCode(t, err, c.code, c.words...)
		if _, ok := s.f.State().App(ref("shop")); ok {
			t.Error("a failed build left an app")
		}
	}
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Image: "nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.last(t, p.ID)
	wantCode(t, err, cloud.NotFound, "nowhere")
	noUploads(t, s.dir)
}

// A release that never comes up ends the push with why, the app's last lines and what to do.
func TestPushOfAnAppThatFails(t *testing.T) {
	s := newServed(t)
	s.f.OnRollout(func(st *cloud.State, rel *cloud.Release) []cloud.Change {
		return st.Fail(rel.ReleaseRef, cloud.Failure{At: time.Now(), Reason: "web.0 exited with code 3", Lines: []string{"no config\x1b[0m"}})
	})
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Image: "web:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.last(t, p.ID)
	wantCode(t, err, cloud.DeployFailed, "exited with code 3", "micro logs shop@r1")
	var failed *api.Failed
	if !errors.As(err, &failed) || len(failed.Lines) != 1 || failed.Lines[0] != `no config\x1b[0m` {
		t.Errorf("lines of %#v", err)
	}
}

// slowPut uploads for a while by a client that only then reads the answer, and returns the answer's problem.
func (s *served) slowPut(t *testing.T, path string) error {
	t.Helper()
	conn, err := net.Dial("unix", s.sock)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := "PUT " + path + " HTTP/1.1\r\nHost: micro\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	for range 12 {
		if _, err := io.WriteString(conn, text+"4000\r\n"+strings.Repeat("evil", 0x1000)+"\r\n"); err != nil {
			t.Fatalf("the node does not read on: %v", err)
		}
		text = ""
		time.Sleep(100 * time.Millisecond) // the client is slow
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer answer.Body.Close()
	return api.ReadProblem(answer)
}

// A client that is refused hears why, although it has not sent all yet, and the push ends with that reason.
func TestRefusedUploadSaysWhy(t *testing.T) {
	s := newServed(t)
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Source: &api.Source{}})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.slowPut(t, "/v1/pushes/"+p.ID+"/upload"), cloud.Invalid, "outside the folder")
	_, err = s.last(t, p.ID)
	wantCode(t, err, cloud.Invalid, "outside the folder")
	wantCode(t, s.slowPut(t, "/v1/pushes/none/upload"), cloud.NotFound, "no push")
	noUploads(t, s.dir)
}

// An upload that broke off may begin again.
func TestUploadAgain(t *testing.T) {
	s := newServed(t)
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Source: &api.Source{}})
	if err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader("FROM"), iotest.ErrReader(errors.New("unplugged")))
	if _, err := s.Upload(t.Context(), p.ID, broken); err == nil {
		t.Error("a broken upload was taken")
	}
	for {
		_, err = s.Upload(t.Context(), p.ID, strings.NewReader("FROM scratch"))
		if cloud.CodeOf(err) != cloud.Conflict { // the server has yet to see that the other one broke
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.last(t, p.ID); err != nil {
		t.Fatal(err)
	}
}

// building is a builder that waits to be let go, push by push.
func (s *served) building() (began chan runtime.Build, goOn chan struct{}) {
	began, goOn = make(chan runtime.Build, 10), make(chan struct{})
	s.f.Making = func(ctx context.Context, b runtime.Build) (runtime.Image, error) {
		began <- b
		select {
		case <-goOn:
			return deploytest.Image, nil
		case <-ctx.Done():
			return runtime.Image{}, ctx.Err()
		}
	}
	return began, goOn
}

func (s *served) folder(t *testing.T, app cloud.AppName) string {
	t.Helper()
	p, err := s.Push(t.Context(), ref(app), api.PushRequest{Source: &api.Source{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Upload(t.Context(), p.ID, strings.NewReader("FROM scratch")); err != nil {
		t.Fatal(err)
	}
	return p.ID
}

// Pushes are listed with those of the last minutes, one app's alone where that is asked for.
func TestPushes(t *testing.T) {
	s := newServed(t)
	s.pushed(t, "blog", api.PushRequest{})
	began, _ := s.building()
	id := s.folder(t, "shop")
	<-began
	all, err := s.Pushes(t.Context(), cloud.DefaultGroup, "")
	if err != nil || len(all) != 2 || all[0].App != "blog" || all[0].Phase != api.PushDone || all[0].Source != "web:1" {
		t.Errorf("all are %+v, %v", all, err)
	}
	list, err := s.Pushes(t.Context(), "", "shop")
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Phase != api.PushImage || list[0].By != "root" {
		t.Errorf("of shop there are %+v, %v", list, err)
	}
	_, err = s.Pushes(t.Context(), "nobody", "")
	wantCode(t, err, cloud.NotFound)
}

func TestPushGoesOnWithoutItsClient(t *testing.T) {
	s := newServed(t)
	began, goOn := s.building()
	id := s.folder(t, "shop")
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	for e, err := range s.PushEvents(ctx, id, 1) {
		if err != nil {
			wantCode(t, err, cloud.Interrupted)
			break
		}
		seen = e.Seq
		cancel()
	}
	cancel()
	close(goOn)
	n := 0
	var out *api.Outcome
	for e, err := range s.PushEvents(t.Context(), id, seen+1) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; e.Seq != seen+n {
			t.Errorf("event %d came after %d", e.Seq, seen)
		}
		out = e.Outcome
	}
	if out == nil || out.Release != 1 {
		t.Errorf("outcome %+v", out)
	}
}

func TestCancelWhileBuilding(t *testing.T) {
	s := newServed(t)
	began, _ := s.building()
	id := s.folder(t, "shop")
	b := <-began
	if _, err := os.Stat(b.Source); err != nil {
		t.Error(err)
	}
	if _, err := s.CancelPush(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	_, err := s.last(t, id)
	wantCode(t, err, cloud.Interrupted, "cancelled by root")
	_, err = s.CancelPush(t.Context(), id)
	wantCode(t, err, cloud.Conflict, "ended already")
	noUploads(t, s.dir)
	if p, err := s.PushByID(t.Context(), id); err != nil || p.Phase != api.PushCancelled {
		t.Errorf("afterwards %+v, %v", p, err)
	}
}

// Cancelled while it starts: the app is as it was before, and cancelling what is current is refused.
func TestCancelWhileStarting(t *testing.T) {
	s := newServed(t)
	first := s.pushed(t, "shop", api.PushRequest{})
	starting := make(chan struct{}, 100)
	s.f.OnRollout(func(*cloud.State, *cloud.Release) []cloud.Change {
		starting <- struct{}{}
		return nil
	})
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Image: "web:2"})
	if err != nil {
		t.Fatal(err)
	}
	<-starting
	for now, err := s.PushByID(t.Context(), p.ID); now.Release == 0; now, err = s.PushByID(t.Context(), p.ID) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CancelPush(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	_, err = s.last(t, p.ID)
	wantCode(t, err, cloud.Interrupted, "cancelled by root")
	app, err := s.App(t.Context(), ref("shop"))
	if err != nil || app.Current != first.Release || app.Rollout != 0 {
		t.Errorf("the app is %+v, %v", app, err)
	}
}

// After a restart of the node a push is found by the release it made; one that made none is not there.
func TestPushAfterRestart(t *testing.T) {
	f, dir := newFakes(t), t.TempDir()
	waiting := make(chan struct{}, 100)
	f.OnRollout(func(*cloud.State, *cloud.Release) []cloud.Change {
		waiting <- struct{}{}
		return nil
	})
	s := serveFakes(t, f, dir)
	p, err := s.Push(t.Context(), ref("shop"), api.PushRequest{Image: "web:1"})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := s.Push(t.Context(), ref("other"), api.PushRequest{Source: &api.Source{}})
	if err != nil {
		t.Fatal(err)
	}
	<-waiting
	ended := make(chan error, 2)
	for _, id := range []string{p.ID, lost.ID} {
		go func() {
			_, err := s.last(t, id)
			ended <- err
		}()
	}
	s.stop()
	for range 2 {
		wantCode(t, <-ended, cloud.Unavailable)
	}
	f.OnRollout(nil)
	again := serveFakes(t, f, dir)
	noUploads(t, dir)
	out, err := again.last(t, p.ID)
	if err != nil || out.Release != 1 {
		t.Errorf("found again as %+v, %v", out, err)
	}
	_, err = again.PushByID(t.Context(), lost.ID)
	wantCode(t, err, cloud.NotFound, "changed nothing", "push again")
}

func TestStagedPush(t *testing.T) {
	s := newServed(t)
	out := s.pushed(t, "shop", api.PushRequest{Stage: true})
	if out.Phase != cloud.PhaseStaged || len(out.Addresses) != 1 || !contains(out.Addresses[0], "shop-20") {
		t.Errorf("outcome %+v", out)
	}
}
