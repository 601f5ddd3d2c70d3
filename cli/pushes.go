package cli

import (
	"context"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) pushes() *urfave.Command {
	return c.new("pushes", "[APP]", "list pushes under way, and those that ended in the last minutes", 0, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			app := cloud.AppRef{Group: c.group(u)}
			if u.NArg() == 1 {
				var err error
				if app, err = c.appRef(u, u.Args().First()); err != nil {
					return err
				}
			}
			list, err := client.Pushes(ctx, app.Group, app.App)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			if len(list) == 0 {
				c.say("no pushes are under way")
				return nil
			}
			var rows [][]string
			for _, p := range list {
				rows = append(rows, []string{p.ID, string(p.App), string(p.Phase), release(p.Release), p.By, ago(p.Created), p.Source, whyPushFailed(p.Failure)})
			}
			return c.table([]string{"PUSH", "APP", "PHASE", "RELEASE", "BY", "AGE", "SOURCE", "WHY"}, rows)
		}))
}

func whyPushFailed(p *api.Problem) string {
	if p == nil {
		return ""
	}
	first, _, _ := strings.Cut(p.Detail, "\n")
	return cut(first, 100) // all of it is in --json
}

// steerPush carries out push --attach and push --cancel.
func (c *command) steerPush(ctx context.Context, u *urfave.Context, client *api.Client) error {
	if u.NArg() > 0 || u.IsSet("attach") && u.IsSet("cancel") {
		return cloud.Errorf(cloud.Invalid, "--attach and --cancel push nothing, so they take no PATH and no other flags of a push").WithCommand("micro pushes")
	}
	push, err := c.findPush(ctx, u, client, u.String("attach")+u.String("cancel"))
	if err != nil {
		return err
	}
	if u.IsSet("attach") {
		return c.followPush(ctx, u, client, push)
	}
	if push, err = client.CancelPush(ctx, push.ID); err != nil {
		return err
	}
	if u.Bool("json") {
		return c.printJSON(push)
	}
	c.say("push %s is cancelled, app %s is as it was", push.ID, push.App)
	return nil
}

// findPush returns the push with the ID, or the one whose ID begins so.
func (c *command) findPush(ctx context.Context, u *urfave.Context, client *api.Client, id string) (api.Push, error) {
	if id == "" {
		return api.Push{}, cloud.Errorf(cloud.Invalid, "the ID of the push is empty").WithCommand("micro pushes")
	}
	list, err := client.Pushes(ctx, c.group(u), "")
	if err != nil {
		return api.Push{}, err
	}
	var found []api.Push
	for _, p := range list {
		if strings.HasPrefix(p.ID, id) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		push, err := client.PushByID(ctx, id)
		if cloud.CodeOf(err) == cloud.NotFound {
			return push, cloud.Errorf(cloud.NotFound, "no push %q", id).WithCommand("micro pushes")
		}
		return push, err
	case 1:
		return found[0], nil
	}
	return api.Push{}, cloud.Errorf(cloud.Invalid, "%d pushes have an ID that begins with %s", len(found), id).WithCommand("micro pushes")
}
