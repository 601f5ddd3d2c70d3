package cli

import (
	"context"
	"iter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) events() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag,
		&urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "follow new events"},
		&urfave.BoolFlag{Name: "audit", Usage: "show who did what instead, and who was refused"},
		&urfave.StringFlag{Name: "since", Usage: "only since `TIME`: 10m, 2h, or RFC 3339"},
	}
	return c.new("events", "[APP]", "show what happened", 0, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) (err error) {
			q := api.EventQuery{Follow: u.Bool("follow"), Tail: 100}
			if u.IsSet("group") {
				q.Group = c.group(u)
			}
			if arg := u.Args().First(); arg != "" {
				ref, err := c.appRef(u, arg)
				if err != nil {
					return err
				}
				q.Group, q.App = ref.Group, ref.App
			}
			if u.IsSet("since") {
				if q.Since, err = sinceTime(u.String("since"), time.Now()); err != nil {
					return err
				}
				q.Tail = -1
			}
			if u.Bool("audit") {
				if u.IsSet("group") || q.App != "" {
					return cloud.Errorf(cloud.Invalid, "the audit log is that of the whole cloud").WithCommand("micro events --audit")
				}
				return c.showAudit(ctx, u, client, q)
			}
			read := client.Events(ctx, q)
			if q.Follow {
				read = resumed(ctx, false, func(after string) iter.Seq2[api.Event, error] {
					if q.After = after; after != "" {
						q.Tail = -1
					}
					return client.Events(ctx, q)
				}, func(e api.Event) string { return e.Cursor })
			}
			for e, err := range read {
				if err != nil {
					return err
				}
				if u.Bool("json") {
					if err := c.printLine(e); err != nil {
						return err
					}
					continue
				}
				c.print("%s %-18s %s", e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Kind, e.Text)
			}
			return nil
		}))
}

func (c *command) doctor() *urfave.Command {
	return c.new("doctor", "", "check the node and this machine for problems", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			checks, err := client.Doctor(ctx)
			if err != nil {
				return err
			}
			failed := 0
			for _, k := range checks {
				if k.Status == api.Fail {
					failed++
				}
				if !u.Bool("json") {
					c.print("%-4s  %s: %s", k.Status, k.Name, k.Text)
					if k.Hint != "" && k.Status != api.OK {
						c.print("      hint: %s", k.Hint)
					}
				}
			}
			if u.Bool("json") {
				err = c.printJSON(checks)
			}
			if err == nil && failed > 0 {
				err = cloud.Errorf(cloud.Unavailable, "%d of %d checks failed", failed, len(checks))
			}
			return err
		}))
}

func (c *command) df() *urfave.Command {
	return c.new("df", "", "show what uses the node's disk", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			d, err := client.Disk(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(d)
			}
			var rows [][]string
			for _, p := range d.Parts {
				rows = append(rows, []string{p.Name, sizeOf(p.Bytes)})
			}
			rows = append(rows, []string{"free on " + d.Path, sizeOf(d.Free)})
			return c.table([]string{"WHAT", "SIZE"}, rows)
		}))
}

func (c *command) prune() *urfave.Command {
	return c.new("prune", "", "free disk space that no release or build uses", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			p, err := client.Prune(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(p)
			}
			c.print("%s freed", sizeOf(p.Bytes))
			return nil
		}))
}

func (c *command) image() *urfave.Command {
	load := c.new("load", "ARCHIVE", "load an image from an archive, for FROM lines to use", 1, 1, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			f, err := openArchive(u.Args().First())
			if err != nil {
				return err
			}
			defer f.Close()
			image, err := client.LoadImage(ctx, f)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(image)
			}
			c.print("%s %s", image.Name, image.Digest)
			return nil
		}))
	list := c.new("list", "", "list the images in the node's store", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			images, err := client.Images(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(images)
			}
			var rows [][]string
			for _, i := range images {
				rows = append(rows, []string{i.Name, i.Digest, sizeOf(i.Size), ago(i.Created)})
			}
			return c.table([]string{"NAME", "DIGEST", "SIZE", "AGE"}, rows)
		}))
	remove := c.changed("remove", "NAME", "remove the name of an image that was loaded, on all nodes", 1, 1, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			changed, err := client.RemoveImageName(ctx, u.Args().First())
			return u.Args().First() + " names no image any more; micro prune frees its space", changed, err
		})
	return &urfave.Command{
		Name: "image", Usage: "the images in the store, and their names", Subcommands: []*urfave.Command{load, list, remove},
		HideHelpCommand: true, OnUsageError: usageError,
		Action: func(u *urfave.Context) error { return urfave.ShowSubcommandHelp(u) },
	}
}

func (c *command) version() *urfave.Command {
	return c.new("version", "", "print the version of micro, and of the node", 0, 0, []urfave.Flag{jsonFlag}, func(u *urfave.Context) error {
		v := struct {
			Client api.Version  `json:"client"`
			Node   *api.Version `json:"node,omitempty"`
		}{Client: c.Version}
		if client, err := c.client(); err == nil {
			defer client.Close()
			ctx, cancel := context.WithTimeout(u.Context, 2*time.Second)
			defer cancel()
			if node, err := client.Version(ctx); err == nil {
				v.Node = &node
			}
		}
		if u.Bool("json") {
			return c.printJSON(v)
		}
		c.print("micro %s", v.Client.Version)
		if v.Node != nil && v.Node.Version != v.Client.Version {
			c.print("node  %s", v.Node.Version)
		}
		return nil
	})
}
