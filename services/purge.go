package services

import (
	"context"
	"log/slog"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Volumes are the services' data.
type Volumes interface {
	// Drop removes all volumes of an app, on the node that has them.
	Drop(ctx context.Context, app cloud.AppRef) error
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

// purge removes a service. First it can't be brought back any more, then its data goes, then it is forgotten: if the node
// with its data is away, the next round tries again.
func (p *Purge) purge(ctx context.Context, ref cloud.AppRef) error {
	write := func(change func(*cloud.State) []cloud.Change) error {
		return p.Writer.Write(ctx, "purge-service", ref.String(), func(s *cloud.State) ([]cloud.Change, error) {
			if !expired(s, ref, p.Now()) {
				return nil, nil // somebody has just brought it back
			}
			return change(s), nil
		})
	}
	if err := write(func(s *cloud.State) []cloud.Change { return s.MarkPurging(ref) }); err != nil {
		return err
	}
	if !expired(p.Views.View().State, ref, p.Now()) {
		return nil
	}
	if err := p.Volumes.Drop(ctx, ref); err != nil {
		return err
	}
	return write(func(s *cloud.State) []cloud.Change { return s.PurgeService(ref) })
}

func expired(s *cloud.State, ref cloud.AppRef, now time.Time) bool {
	app, ok := s.App(ref)
	return ok && app.Service != nil && app.Service.Brokered == nil && app.Service.Deleted != nil && now.After(app.Service.Deleted.Add(cloud.DeletedFor))
}

// Expired returns the deleted services that can't be brought back any more, without those of brokers: Brokers ends these.
func Expired(s *cloud.State, now time.Time) (refs []cloud.AppRef) {
	for app := range s.Services("") {
		if expired(s, app.AppRef, now) {
			refs = append(refs, app.AppRef)
		}
	}
	return refs
}
