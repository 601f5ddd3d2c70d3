package cli

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var noteFlag = &urfave.StringFlag{Name: "message", Aliases: []string{"m"}, Usage: "say why, as `TEXT`"}

// verdict makes the command that approves or rejects a release.
func (c *command) verdict(name, usage string, approved bool) *urfave.Command {
	return c.changed(name, "APP@rN", usage, 1, 1, []urfave.Flag{groupFlag, noteFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			ref, err := c.ref(u, u.Args().First())
			if err == nil && ref.N == 0 {
				err = cloud.Errorf(cloud.Invalid, "%s wants one release", u.Command.HelpName).WithCommand("micro releases %s", ref)
			}
			if err != nil {
				return "", api.Changed{}, err
			}
			changed, err := client.Review(ctx, ref.AppRef, api.Reviewing{Release: ref.N, Approved: approved, Text: u.String("message")})
			return fmt.Sprintf("release %s is %sd", ref, map[bool]string{true: "approve", false: "rejecte"}[approved]), changed, err
		})
}

func (c *command) reviews() *urfave.Command {
	return c.new("reviews", "APP", "show who approved or rejected releases of an app, and its lock", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return err
			}
			found, err := client.Reviews(ctx, ref)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(found)
			}
			if found.Locked != "" {
				c.print("locked by %s", found.Locked)
			}
			if found.Required {
				c.print("releases must be approved before the public reaches them")
			}
			var rows [][]string
			for _, n := range found.Notes {
				said := "rejected"
				if n.Approved {
					said = "approved"
				}
				rows = append(rows, []string{release(n.Release), said, n.By, ago(n.Time), n.Text})
			}
			return c.table([]string{"RELEASE", "VERDICT", "BY", "AGE", "WHY"}, rows)
		}))
}

func (c *command) lock() *urfave.Command {
	return c.changed("lock", "APP", "keep an app from being deployed", 1, 1, []urfave.Flag{groupFlag, noteFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return "", api.Changed{}, err
			}
			changed, err := client.Lock(ctx, ref, u.String("message"))
			return fmt.Sprintf("app %s is locked; micro unlock %s ends that", ref, ref), changed, err
		})
}

func (c *command) unlock() *urfave.Command {
	return c.changed("unlock", "APP", "let an app be deployed again", 1, 1, []urfave.Flag{groupFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return "", api.Changed{}, err
			}
			changed, err := client.Unlock(ctx, ref)
			return fmt.Sprintf("app %s is unlocked", ref), changed, err
		})
}
