package cli

import (
	"context"
	"iter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// await waits until a release is what a write asked for, over lost connections and restarts of the node, and
// prints what came of it.
func (c *command) await(ctx context.Context, u *urfave.Context, client *api.Client, app cloud.AppRef, changed api.Changed) error {
	if changed.Note != "" && !u.Bool("json") {
		c.say("%s", changed.Note)
	}
	if u.Bool("detach") || changed.Release == 0 {
		if u.Bool("json") {
			return c.printJSON(changed)
		}
		return nil
	}
	ref := app.Release(changed.Release)
	said, switching := "", false
	begin := func(string) iter.Seq2[api.WaitEvent, error] {
		return untilFailure(client.Wait(ctx, ref, switching), func(e api.WaitEvent) bool { return e.Failure != nil })
	}
	for e, err := range resumed(ctx, true, begin, func(api.WaitEvent) string { return "any" }) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case cloud.CodeOf(err) == cloud.Unavailable:
			return cloud.Errorf(cloud.Unavailable, "cannot reach the node, so the outcome for %s is unknown: %w", ref, err).WithCommand("micro releases %s", app)
		case err != nil:
			return err
		case e.Failure != nil:
			return e.Failure.Err()
		case e.Outcome != nil:
			return c.outcome(u, *e.Outcome)
		case e.Rollout != nil:
			switching = e.Rollout.Switching
			if now := rollout(*e.Rollout); now != said && !u.Bool("json") {
				said = now
				c.say("%s %s", ref, now)
			}
		}
	}
	return cloud.Errorf(cloud.Unavailable, "the node ended the wait for %s", ref).WithCommand("micro ps %s", app)
}

// insist carries out a write again whose answer was lost, until the node is back and answers. The write must
// be one that may be carried out twice.
func insist[T any](ctx context.Context, write func() (T, error)) (T, error) {
	v, err := write()
	if !api.ConnectionLost(err) {
		return v, err
	}
	for until := time.Now().Add(reconnectFor); time.Now().Before(until); {
		select {
		case <-time.After(reconnectIn):
		case <-ctx.Done():
			return v, ctx.Err()
		}
		again, aerr := write()
		if cloud.CodeOf(aerr) != cloud.Unavailable {
			return again, aerr
		}
	}
	return v, cloud.Errorf(cloud.Unavailable, "the connection to the node was lost, and it is unknown whether the change was made: %w", err)
}
