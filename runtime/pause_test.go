package runtime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/protoduction/micro/cloud"
)

// While an app is paused nothing is done with its instances, and all of them run on afterwards, whatever happens.
func TestPause(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.push("one", web(2))
		w.after(time.Second)
		failed, done := errors.New("failed"), make(chan struct{})
		err := w.agent.Pause(context.Background(), shop, func(_ context.Context, paused int) error {
			if paused != 2 || len(w.driver.Paused()) != 2 {
				t.Errorf("%d are paused, and %v", paused, w.driver.Paused())
			}
			for i := range w.snapshots.View().Instances.OfApp(shop) {
				go func() {
					w.agent.Unpaused(i.ID)
					if len(w.driver.Paused()) != 0 {
						t.Errorf("%s was let in during the pause", i.ID)
					}
					done <- struct{}{}
				}()
			}
			return failed
		})
		<-done
		<-done
		if !errors.Is(err, failed) || len(w.driver.Paused()) != 0 {
			t.Errorf("%v, paused %v", err, w.driver.Paused())
		}
		w.is("runs", w.runs(), "web.0@r1 web.1@r1")
		other := cloud.AppRef{Group: cloud.DefaultGroup, App: "other"}
		if err := w.agent.Pause(context.Background(), other, func(_ context.Context, paused int) error {
			if paused != 0 {
				t.Errorf("%d of another app are paused", paused)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
