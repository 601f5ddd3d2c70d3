package runtime

import (
	"context"
	"fmt"

	"github.com/protoduction/micro/cloud"
)

// awaitAccounts waits until the services know the accounts of a release, which its container was made with as they are in
// state made. Other instances may start meanwhile.
func (w *worker) awaitAccounts(ctx context.Context, rel *cloud.Release, made *cloud.State) error {
	view := w.Views.View()
	why := view.State.Unmet(rel)
	if why != "" {
		<-w.slots
		defer func() { w.slots <- struct{}{} }()
	}
	for why != "" {
		if w.i.Reason != why {
			w.setPhase(cloud.InstanceStarting, why)
		}
		var err error
		if view, err = w.Views.Changed(ctx, view); err != nil {
			return err
		}
		why = view.State.Unmet(rel)
	}
	for _, b := range rel.Spec.Bindings {
		was, _ := made.Account(rel.AppRef, b)
		is, _ := view.State.Account(rel.AppRef, b)
		if was == nil || !was.Created.Equal(is.Created) {
			return fmt.Errorf("its account at service %s was replaced by another one while it started", b.Service)
		}
	}
	return nil
}
