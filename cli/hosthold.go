package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) hold() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag,
		&urfave.DurationFlag{Name: "max", Usage: "hold requests for `TIME` at most", Value: 10 * time.Second},
	}
	return c.new("hold", "HOST -- COMMAND…", "hold a host's new requests while a command runs on this machine, then let them go on", 1, 1, flags, c.with(c.holdHost))
}

// holdReport is what became of a hold, as JSON.
type holdReport struct {
	Exit    int            `json:"exit_code" doc:"The command's"`
	Took    cloud.Duration `json:"took" doc:"How long the command ran"`
	Over    bool           `json:"outlasted,omitempty" doc:"The command ran longer than requests were held"`
	Waited  int64          `json:"waited" doc:"Requests that waited"`
	Late    int64          `json:"late" doc:"Of these, those that got 503 because the time was over"`
	Refused int64          `json:"refused" doc:"Requests that got 503 at once, because as many were waiting as the routers hold"`
	Longest cloud.Duration `json:"longest_wait"`
}

func (c *command) holdHost(ctx context.Context, u *urfave.Context, client *api.Client) error {
	host, path, err := hostPath(u.Args().First())
	switch {
	case err != nil:
		return err
	case path != "/":
		return cloud.Errorf(cloud.Invalid, "requests are held for a whole host, not for %s", path).WithCommand("micro hold %s -- COMMAND", host)
	case len(c.child) == 0:
		return cloud.Errorf(cloud.Invalid, "micro hold: no command").WithCommand("micro hold %s --max 8s -- ./promote-database", host)
	}
	if err := noZero(u, "max"); err != nil {
		return err
	}
	group, most, id := c.group(u), u.Duration("max"), rand.Text()
	until, err := insist(ctx, func() (api.HostHeld, error) {
		return client.HoldHost(ctx, group, api.HostHold{Host: string(host), ID: id, Max: cloud.Duration(most)})
	})
	if err != nil {
		return err
	}
	out := holdReport{}
	begun := time.Now()
	over := time.AfterFunc(time.Until(until.Until), func() {
		c.say("%s is over: requests that waited got 503, new ones pass; the command still runs", most)
	})
	out.Exit, err = c.runChild(ctx)
	out.Took, out.Over = cloud.Duration(time.Since(begun).Round(time.Millisecond)), !over.Stop()
	// Also after Ctrl-C: nobody waits longer than the command.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), reconnectFor)
	defer cancel()
	parked, lost := insist(end, func() (api.ParkedRequests, error) {
		return client.EndHostHold(end, group, api.EndingHold{Host: string(host), ID: id})
	})
	out.Waited, out.Late, out.Refused, out.Longest = parked.Waited, parked.Late, parked.Refused, parked.Longest
	if lost != nil {
		c.say("cannot let the requests go on, which they do by themselves at %s: %v", until.Until.Local().Format("15:04:05"), lost)
	}
	switch {
	case err != nil:
		return errors.Join(err, lost)
	case u.Bool("json"):
		if err := c.printJSON(out); err != nil {
			return err
		}
	default:
		c.say("%s", out.text())
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case out.Exit != 0:
		return exit(out.Exit)
	}
	return lost
}

func (h holdReport) text() string {
	text := "no request came meanwhile"
	if h.Waited+h.Refused > 0 {
		text = fmt.Sprintf("%d requests waited, the longest for %s", h.Waited, time.Duration(h.Longest).Round(time.Millisecond))
	}
	if h.Late > 0 {
		text += fmt.Sprintf("; %d of them got 503 when the time was over", h.Late)
	}
	if h.Refused > 0 {
		text += fmt.Sprintf("; %d more got 503, because there is no room for so many", h.Refused)
	}
	if h.Exit != 0 {
		text += fmt.Sprintf("; the command failed with exit code %d after %s", h.Exit, h.Took)
	}
	return text
}

// runChild runs the command behind "--" on this machine with this process's streams, and returns its exit code. The end of
// ctx interrupts it.
func (c *command) runChild(ctx context.Context) (int, error) {
	cmd := exec.CommandContext(ctx, c.child[0], c.child[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = childGrace
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.ExitCode() >= 0:
		return ended.ExitCode(), nil
	case errors.As(err, &ended):
		return 1, nil // ended by a signal
	case err != nil:
		return 0, cloud.Errorf(cloud.Invalid, "cannot run the command: %w", err)
	}
	return 0, nil
}

// childGrace is how long an interrupted command may take to end.
const childGrace = 10 * time.Second
