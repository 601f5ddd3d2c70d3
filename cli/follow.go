package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// followPush shows what happens to a push until it has ended, and prints its outcome.
func (c *command) followPush(ctx context.Context, u *urfave.Context, client *api.Client, push api.Push) error {
	outcome, err := c.watchPush(ctx, u, client, push)
	if err != nil {
		return c.interruptedPush(client, push, err)
	}
	return c.outcome(u, outcome)
}

// watchPush shows what happens to a push until it has ended, over lost connections and restarts of the node.
func (c *command) watchPush(ctx context.Context, u *urfave.Context, client *api.Client, push api.Push) (api.Outcome, error) {
	show := c.progress(u)
	defer show.stop()
	next := 1
	connected := false
	begin := func(string) iter.Seq2[api.PushEvent, error] {
		if connected {
			// A node that was restarted has fewer events, perhaps only the last one.
			if now, err := client.PushByID(ctx, push.ID); err == nil && now.Events < next-1 {
				next = 1
			}
		}
		connected = true
		return untilFailure(client.PushEvents(ctx, push.ID, next), func(e api.PushEvent) bool { return e.Failure != nil })
	}
	for e, err := range resumed(ctx, true, begin, func(e api.PushEvent) string { return fmt.Sprint(e.Seq) }) {
		switch {
		case ctx.Err() != nil:
			return api.Outcome{}, ctx.Err()
		case cloud.CodeOf(err) == cloud.NotFound:
			// The push was known before, so the node stopped before it had made a release.
			return api.Outcome{}, cloud.Errorf(cloud.Unavailable, "%w", err).WithHintOf(err)
		case cloud.CodeOf(err) == cloud.Unavailable:
			return api.Outcome{}, cloud.Errorf(cloud.Unavailable, "cannot reach the node, so the outcome of push %s is unknown: %w", push.ID, err).
				WithCommand("micro push --attach %s", push.ID)
		case err != nil:
			return api.Outcome{}, err
		case e.Failure != nil:
			return api.Outcome{}, e.Failure.Err()
		case e.Outcome != nil:
			return *e.Outcome, nil
		}
		next = e.Seq + 1
		show.event(e)
	}
	return api.Outcome{}, cloud.Errorf(cloud.Unavailable, "the node ended the events of push %s", push.ID).WithCommand("micro push --attach %s", push.ID)
}

// untilFailure yields what seq does; an event that has failed is yielded without the error that describes it:
// its code may be Unavailable, and the connection is not lost.
func untilFailure[T any](seq iter.Seq2[T, error], failed func(T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range seq {
			if failed(v) {
				err = nil
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// cancelTimeout is how long cancelling a push may take that nobody waits for.
const cancelTimeout = 10 * time.Second

// abandonPush cancels a push whose upload failed with err, so that it does not wait for another one.
func (c *command) abandonPush(client *api.Client, push api.Push, err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	_, cerr := client.CancelPush(ctx, push.ID)
	if errors.Is(err, context.Canceled) && cerr == nil {
		return cancelled(push)
	}
	return err // a push that can't be cancelled has ended, or ends when no upload comes
}

func cancelled(push api.Push) error {
	return cloud.Errorf(cloud.Interrupted, "push %s is cancelled, app %s is as it was", push.ID, push.App)
}

// interruptedPush decides what becomes of a push that its person no longer waits for: at a terminal the
// person is asked, elsewhere it is cancelled. It never goes on without saying so.
func (c *command) interruptedPush(client *api.Client, push api.Push, err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	if c.interactive() && terminal(c.Stdin) && !c.askToCancel() {
		c.say("push %s goes on\nmicro push --attach %s follows it, micro push --cancel %s ends it", push.ID, push.ID, push.ID)
		return exit(cloud.Interrupted.Exit())
	}
	signal.Reset(os.Interrupt, syscall.SIGTERM) // who can't wait for this may end the command
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	if _, cerr := client.CancelPush(ctx, push.ID); cerr != nil {
		return cloud.Errorf(cloud.Interrupted, "interrupted, and push %s goes on: %w", push.ID, cerr).WithCommand("micro push --attach %s", push.ID)
	}
	return cancelled(push)
}

// askToCancel asks whether a push is to be cancelled. A second Ctrl-C is a yes: whoever presses it twice
// wants the push to end, not to go on unseen.
func (c *command) askToCancel() bool {
	c.say("\nCtrl-C again cancels the push, Enter leaves it running.")
	yes, interrupted := c.confirm("Cancel the push?")
	return yes || interrupted
}
