package services

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime"
)

// world is a cloud with services and an app that is bound to them, and fails the commands that fault says.
type world struct {
	*cloud.Cell
	mu    sync.Mutex
	fault func(service cloud.AppName, command string) error
	ran   []string
}

func (w *world) Write(_ context.Context, _, _ string, change func(*cloud.State) ([]cloud.Change, error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.View().State
	changes, err := change(s)
	if err == nil && len(changes) > 0 {
		w.SetState(s.Apply(s.Rev()+1, changes))
	}
	return err
}

func (w *world) Exec(_ context.Context, id cloud.InstanceID, c runtime.Command) (int, error) {
	i, _ := w.View().Instances.Get(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	what := "bind"
	if strings.Contains(c.Args[2], "pg_terminate") || strings.Contains(c.Args[2], "DELUSER") {
		what = "unbind"
	}
	w.ran = append(w.ran, what+" "+string(i.App))
	return 0, w.fault(i.App, what)
}

func (w *world) RunOnce(context.Context, cloud.ReleaseRef, cloud.ProcessName, int64, runtime.Command) (int, error) {
	return 0, errors.New("no container")
}

func newWorld(t *testing.T, fault func(cloud.AppName, string) error) (*world, cloud.AppRef) {
	w := &world{Cell: cloud.NewCell(), fault: fault}
	at := cloud.Stamp{At: time.Now(), By: "test"}
	do := func(change func(s *cloud.State) ([]cloud.Change, error)) {
		t.Helper()
		if err := w.Write(t.Context(), "", "", change); err != nil {
			t.Fatal(err)
		}
	}
	do(func(s *cloud.State) ([]cloud.Change, error) { return s.Init(at), nil })
	image := cloud.Built{Image: cloud.Image{Digest: "sha256:1"}}
	var services []cloud.Binding
	for _, kind := range []string{"postgres", "redis"} {
		ref := cloud.AppRef{Group: "default", App: cloud.AppName(kind)}
		do(func(s *cloud.State) ([]cloud.Change, error) {
			changes, _, err := s.CreateService(cloud.NewService{App: ref, Service: cloud.Service{Kind: kind, Variable: strings.ToUpper(kind) + "_URL"}, Built: image}, at)
			return changes, err
		})
		do(func(s *cloud.State) ([]cloud.Change, error) { return s.FinishRollout(ref, at.At, at), nil })
		ready := &cloud.Instance{
			ID: cloud.InstanceID(kind), Slot: cloud.Slot{ReleaseRef: ref.Release(1), Process: cloud.Web}, Phase: cloud.InstanceReady, Addr: netip.MustParseAddrPort("10.0.0.2:1"),
		}
		w.Observe(func(o *cloud.Instances) *cloud.Instances { return o.With(ready) })
		services = append(services, cloud.Binding{Service: ref.App})
	}
	shop := cloud.AppRef{Group: "default", App: "shop"}
	do(func(s *cloud.State) ([]cloud.Change, error) {
		changes, _, err := s.Push(cloud.Push{App: shop, Built: image, Spec: cloud.PushSpec{Services: services}}, at)
		return changes, err
	})
	return w, shop
}

// A command that fails is tried again after a pause, also if nothing changes meanwhile, and keeps no other account of the
// app from being made. A release is given up after three failures.
func TestFailingCommands(t *testing.T) {
	for failures, want := range map[int]string{0: "made", 1: "made", 2: "made", 3: "failed"} {
		synctest.Test(t, func(t *testing.T) {
			left := failures
			w, shop := newWorld(t, func(service cloud.AppName, what string) error {
				if service == "postgres" && what == "bind" && left > 0 {
					left--
					return errors.New("the disk is full")
				}
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			d := &Accounts{Views: w, Writer: w, Commands: w, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now}
			go func() {
				defer close(ended)
				_ = d.Run(ctx)
			}()
			time.Sleep(busyWait * 2)
			synctest.Wait()
			if s := w.View().State; failures > 0 && !strings.HasSuffix(s.Unmet(must(s, shop)), "at service postgres") {
				t.Errorf("%d failures: first %s", failures, s.Unmet(must(s, shop)))
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			s := w.View().State
			got := "waits"
			if rel := must(s, shop); rel.Failure != nil {
				got = "failed"
				if !strings.Contains(rel.Failure.Reason, "no account at service postgres: the disk is full") {
					t.Error(rel.Failure.Reason)
				}
			} else if s.Unmet(rel) == "" {
				got = "made"
			}
			if got != want {
				t.Errorf("%d failures: %s, want %s; %v", failures, got, want, w.ran)
			}
			cancel()
			<-ended
		})
	}
}

func must(s *cloud.State, app cloud.AppRef) *cloud.Release {
	rel, _ := s.Release(app.Release(1))
	return rel
}
