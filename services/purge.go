package services

import (
	"context"
	"log/slog"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Volumes are the services' data.
type Volumes interface {
	// Drop removes all volumes of an app that no longer exists.
	Drop(app cloud.AppRef) error
}

// Purge is the duty that forgets services for good: cloud.DeletedFor after they were deleted, or as soon as the node has
// gone that filled them.
type Purge struct {
	Views   Views
	Writer  Writer
	Volumes Volumes
	Log     *slog.Logger
	Now     func() time.Time
}

// Name implements leader.Duty.
func (*Purge) Name() string { return "deleted services" }

// purgeEvery is how often to look for services that are to go.
const purgeEvery = time.Minute

// Run implements leader.Duty.
func (p *Purge) Run(ctx context.Context) error {
	for {
		view := p.Views.View()
		for _, ref := range Expired(view.State, p.Now()) {
			if err := p.purge(ctx, ref); err != nil {
				p.Log.Error("cannot remove a deleted service", "service", ref.String(), "err", err)
			}
		}
		for _, ref := range Abandoned(view) {
			if err := discard(ctx, p.Writer, p.Volumes, ref); err != nil {
				p.Log.Error("cannot remove an unfinished service", "service", ref.String(), "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(purgeEvery):
		}
	}
}

// purge removes a service. Its data goes last: a service that is still known can be brought back.
func (p *Purge) purge(ctx context.Context, ref cloud.AppRef) error {
	gone := false
	err := p.Writer.Write(ctx, "purge-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
		changes := s.PurgeService(ref)
		gone = len(changes) > 0
		return changes, nil
	})
	if err != nil || !gone {
		return err
	}
	return p.Volumes.Drop(ref)
}

// Expired returns the deleted services that can't be brought back any more.
func Expired(s *cloud.State, now time.Time) (refs []cloud.AppRef) {
	for app := range s.Services("") {
		if at := app.Service.Deleted; at != nil && now.After(at.Add(cloud.DeletedFor)) {
			refs = append(refs, app.AppRef)
		}
	}
	return refs
}
