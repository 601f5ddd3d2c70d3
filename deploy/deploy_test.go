package deploy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/deploy/deploytest"
	"github.com/protoduction/micro/runtime"
)

// fixture is a Deployer that runs on a cloud in memory.
type fixture struct {
	*Deployer
	t     *testing.T
	cloud *deploytest.Cloud
}

var tester = cloud.Actor{Name: "ann", Role: cloud.RoleDeveloper}

func ref(app cloud.AppName) cloud.AppRef { return cloud.AppRef{Group: cloud.DefaultGroup, App: app} }

func newFixture(t *testing.T, configure ...func(*Config)) *fixture {
	t.Helper()
	c := deploytest.New(t)
	config := Config{
		Store: c, Views: c, Images: c, Builder: c, Unpack: deploytest.Unpack, Dir: t.TempDir(), Domain: "micro.test",
		URLs: func(h cloud.Host) []string { return []string{"http://" + string(h)} }, Log: slog.New(slog.DiscardHandler),
	}
	for _, set := range configure {
		set(&config)
	}
	d, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	led := make(chan struct{})
	go func() { ended <- d.Run(ctx) }()
	go func() { c.Lead(ctx); close(led) }()
	t.Cleanup(func() {
		cancel()
		<-led
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &fixture{d, t, c}
}

// create begins a push.
func (f *fixture) create(app cloud.AppName, r api.PushRequest) api.Push {
	f.t.Helper()
	p, err := f.Create(ref(app), r, tester)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// send uploads what a push waits for.
func (f *fixture) send(id string, content io.Reader) error {
	_, err := f.Receive(f.t.Context(), id, content, func() {})
	return err
}

// wait reads a push's events to the end.
func (f *fixture) wait(id string) (*api.Outcome, error) {
	f.t.Helper()
	events, err := f.Events(f.t.Context(), id, 1)
	if err != nil {
		f.t.Fatal(err)
	}
	for e, err := range events {
		switch {
		case err != nil:
			f.t.Fatal(err)
		case e.Failure != nil:
			return nil, e.Failure.Err()
		case e.Outcome != nil:
			return e.Outcome, nil
		}
	}
	f.t.Fatal("the events have no end")
	return nil, nil
}

// awaitRelease waits until a push has made its release.
func (f *fixture) awaitRelease(id string) {
	f.t.Helper()
	events, err := f.Events(f.t.Context(), id, 1)
	if err != nil {
		f.t.Fatal(err)
	}
	for e, err := range events {
		if err != nil || e.Failure != nil {
			f.t.Fatal(e, err)
		}
		if e.Release != 0 {
			return
		}
	}
}

// wantCode fails unless err has the code, and its text and hint have all of the words.
func wantCode(t *testing.T, err error, code cloud.Code, words ...string) {
	t.Helper()
	if cloud.CodeOf(err) != code {
		t.Errorf("got %v (%s), want %s", err, cloud.CodeOf(err), code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error()+" hint: "+cloud.HintOf(err), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestConfigReportsEveryFault(t *testing.T) {
	_, err := New(Config{})
	for _, field := range []string{"store", "views", "images", "builder", "unpack", "dir", "domain", "URLs", "log"} {
		if err == nil || !strings.Contains(err.Error(), "no "+field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

// The push that was created last wins, whichever is built first; the other one names the winning release.
func TestNewerPushSupersedes(t *testing.T) {
	for _, olderFirst := range []bool{true, false} {
		f := newFixture(t)
		goOn := map[string]chan struct{}{"old": make(chan struct{}), "new": make(chan struct{})}
		f.cloud.Making = func(ctx context.Context, b runtime.Build) (runtime.Image, error) {
			select {
			case <-goOn[b.Target]:
				return deploytest.Image, nil
			case <-ctx.Done():
				return runtime.Image{}, ctx.Err()
			}
		}
		ids := map[string]string{}
		for _, target := range []string{"old", "new"} {
			p := f.create("shop", api.PushRequest{Source: &api.Source{Target: target}})
			if err := f.send(p.ID, strings.NewReader("FROM scratch")); err != nil {
				t.Fatal(err)
			}
			ids[target] = p.ID
		}
		want := "superseded by r1"
		if olderFirst {
			want = "superseded by r2"
			f.cloud.OnRollout(func(st *cloud.State, rel *cloud.Release) []cloud.Change {
				if rel.N == 1 {
					return nil // never ready
				}
				return st.FinishRollout(rel.AppRef, time.Now(), cloud.Stamp{})
			})
			close(goOn["old"])
			f.awaitRelease(ids["old"])
		}
		close(goOn["new"])
		_, err := f.wait(ids["old"])
		wantCode(t, err, cloud.Conflict, want)
	}
}

// Between its image and its release a push holds the image; afterwards the release does.
func TestImagesAreHeldUntilTheReleaseIsWritten(t *testing.T) {
	f := newFixture(t)
	f.commit.Lock() // no release can be written
	p := f.create("shop", api.PushRequest{Image: "web:1"})
	for held := f.HeldImages(); len(held) != 1 || held[0] != deploytest.Image.Digest; held = f.HeldImages() {
		if t.Context().Err() != nil {
			t.Fatal("the image is not held")
		}
	}
	f.commit.Unlock()
	if _, err := f.wait(p.ID); err != nil {
		t.Fatal(err)
	}
	if held := f.HeldImages(); len(held) != 0 {
		t.Errorf("still held: %q", held)
	}
	if !f.cloud.State().Images()[deploytest.Image.Digest] {
		t.Error("no release has the image")
	}
}

// Two pushes may hold one image.
func TestHeldImagesAreCounted(t *testing.T) {
	var h heldImages
	first, second := h.hold("sha256:1"), h.hold("sha256:1")
	first()
	if h.n["sha256:1"] != 1 {
		t.Errorf("held %v after one of two pushes has ended", h.n)
	}
	second()
	if len(h.n) != 0 {
		t.Errorf("held %v after both pushes have ended", h.n)
	}
}

// Images that are slow to fetch keep no build waiting, and the pushes of one group none of another.
func TestGroupsAndKindsDoNotWaitForEachOther(t *testing.T) {
	f := newFixture(t)
	importing := make(chan struct{}, maxFetches)
	f.cloud.Importing = func(ctx context.Context) {
		importing <- struct{}{}
		<-ctx.Done()
	}
	for i := range maxFetchesPerGroup + 1 {
		p := f.create(cloud.AppName(fmt.Sprintf("slow%d", i)), api.PushRequest{Archive: true})
		if err := f.send(p.ID, strings.NewReader("archive")); err != nil {
			t.Fatal(err)
		}
	}
	for range maxFetchesPerGroup {
		<-importing
	}
	p := f.create("shop", api.PushRequest{Source: &api.Source{}})
	if err := f.send(p.ID, strings.NewReader("FROM scratch")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.wait(p.ID); err != nil {
		t.Fatal(err)
	}
}

// A group has so many pushes under way, and no more.
func TestSlotsOfAGroup(t *testing.T) {
	f := newFixture(t)
	for range maxPushesPerGroup {
		f.create("shop", api.PushRequest{Archive: true})
	}
	_, err := f.Create(ref("shop"), api.PushRequest{Archive: true}, tester)
	wantCode(t, err, cloud.Unavailable, "16 pushes", "group default", "micro pushes")
	all := f.Pushes(cloud.DefaultGroup)
	if len(all) != maxPushesPerGroup {
		t.Errorf("%d pushes are listed", len(all))
	}
	if _, err := f.Cancel(t.Context(), all[0].ID, tester); err != nil {
		t.Fatal(err)
	}
	if _, err := f.wait(all[0].ID); cloud.CodeOf(err) != cloud.Interrupted {
		t.Fatal(err)
	}
	f.create("shop", api.PushRequest{Archive: true})
}
