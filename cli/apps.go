package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) apps() *urfave.Command {
	apps := c.new("apps", "[create NAME]", "list apps, or make one before its first push", 0, 0, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			apps, err := client.Apps(ctx, c.group(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(apps)
			}
			if len(apps) == 0 {
				c.say("no apps yet; micro push FOLDER makes one")
				return nil
			}
			var rows [][]string
			for _, a := range apps {
				rows = append(rows, []string{string(a.Name), release(a.Current), cmp.Or(string(a.Phase), "no release"), fmt.Sprintf("%d/%d", a.Ready, a.Instances), strings.Join(first(append(a.Addresses, a.Hosts...)), " ")})
			}
			return c.table([]string{"APP", "CURRENT", "PHASE", "READY", "ADDRESS"}, rows)
		}))
	apps.Subcommands = []*urfave.Command{c.createApp()}
	return apps
}

func (c *command) createApp() *urfave.Command {
	return c.new("create", "NAME", "make an app without a release", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return err
			}
			changed, err := client.CreateApp(ctx, ref)
			if err != nil || u.Bool("json") {
				return c.done(u)(changed, err)
			}
			c.say("app %s has no release yet: micro env %s KEY=VALUE, then micro push --app %s", ref, ref, ref.App)
			return nil
		}))
}

func (c *command) appCommand() *urfave.Command {
	return c.new("app", "APP", "show an app", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return err
			}
			a, err := client.App(ctx, ref)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(a)
			}
			c.print("app        %s", a.Name)
			c.print("group      %s", a.Group)
			if a.Phase == "" {
				c.print("current    - (no release yet)")
			} else {
				c.print("current    %s (%s)", release(a.Current), a.Phase)
			}
			if a.Rollout != 0 {
				c.print("switching  to %s", release(a.Rollout))
			}
			c.print("ready      %d of %d", a.Ready, a.Instances)
			for _, name := range a.Idle {
				c.print("idle       %s: micro scale %s %s=1", name, a.Name, name)
			}
			if a.Image != "" {
				c.print("image      %s", a.Image)
			}
			if a.Egress != nil {
				c.print("egress     %s", egressText(*a.Egress))
			}
			c.print("created    %s", a.Created.Format("2006-01-02 15:04:05 MST"))
			for _, url := range append(a.Addresses, a.Hosts...) {
				c.print("address    %s", url)
			}
			return nil
		}))
}

func (c *command) releases() *urfave.Command {
	return c.new("releases", "APP", "list the releases of an app", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return err
			}
			list, err := client.Releases(ctx, ref)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, r := range slices.Backward(list) {
				rows = append(rows, []string{release(r.Release), string(r.Phase), fmt.Sprintf("%d/%d", r.Ready, r.Instances), r.Cause, r.By, ago(r.Created), r.Image, cmp.Or(why(r.Failure), r.Fade)})
			}
			return c.table([]string{"RELEASE", "PHASE", "READY", "CAUSE", "BY", "AGE", "IMAGE", "WHY"}, rows)
		}))
}

func (c *command) diff() *urfave.Command {
	return c.new("diff", "APP rA rB", "show what two releases differ in", 3, 3, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.appRef(u, u.Args().First())
			if err != nil {
				return err
			}
			from, err := cloud.ParseRelease(u.Args().Get(1))
			if err != nil {
				return err
			}
			to, err := cloud.ParseRelease(u.Args().Get(2))
			if err != nil {
				return err
			}
			list, err := client.Diff(ctx, ref, from, to)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			for _, d := range list {
				c.print("%s: %s → %s", d.Field, orNone(d.From), orNone(d.To))
			}
			return nil
		}))
}

// release is "r7", "-" for none.
func release(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("r%d", n)
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func why(f *cloud.Failure) string {
	if f == nil {
		return ""
	}
	return cut(f.Reason, 100) // all of it is in --json
}

// first is the list cut to its first element.
func first(list []string) []string { return list[:min(1, len(list))] }
