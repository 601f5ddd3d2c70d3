package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) share() *urfave.Command {
	share := c.new("share", "APP[@rN]", "print a link by which somebody outside can look at a release", 1, 1, []urfave.Flag{
		groupFlag,
		&urfave.StringFlag{Name: "for", Value: "48h", Usage: "how long the link is good for: 2h, 7d, at most 30d, as `TIME`"},
		&urfave.StringFlag{Name: "host", Usage: "show the release at `HOST`, a public host of the group, to who has the link"},
		jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		ref, err := c.ref(u, u.Args().First())
		if err != nil {
			return err
		}
		life, err := days(u.String("for"))
		if err != nil {
			return err
		}
		l, err := client.Share(ctx, ref.AppRef, api.Sharing{Release: ref.N, For: cloud.Duration(life), Host: u.String("host")})
		if err != nil {
			return err
		}
		if u.Bool("json") {
			return c.printJSON(l)
		}
		c.print("%s", l.URL)
		c.say("it opens %s until %s; micro share revoke %s ends it", ref, l.Expires.UTC().Format("2006-01-02 15:04 MST"), l.ID)
		if u.String("host") == "" {
			c.say("whoever opens it must reach %s by that name; --host takes a public host of the group instead", l.Host)
		}
		return nil
	}))
	share.Subcommands = []*urfave.Command{c.shareList(), c.shareRevoke()}
	return share
}

func (c *command) shareList() *urfave.Command {
	return c.new("list", "", "list the links of a group", 0, 0, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			links, err := client.Links(ctx, c.group(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(links)
			}
			var rows [][]string
			for _, l := range links {
				until := l.Expires.UTC().Format("2006-01-02 15:04:05")
				if l.Expired {
					until = "expired"
				}
				ref := cloud.AppRef{Group: l.Group, App: l.App}.Release(l.Release)
				rows = append(rows, []string{string(l.ID), ref.String(), string(l.Host), l.By, ago(l.Created), until})
			}
			return c.table([]string{"ID", "OPENS", "AT", "BY", "AGE", "UNTIL (UTC)"}, rows)
		}))
}

func (c *command) shareRevoke() *urfave.Command {
	return c.changed("revoke", "ID", "end a link", 1, 1, []urfave.Flag{groupFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			id := strings.TrimSpace(u.Args().First())
			changed, err := client.Unshare(ctx, c.group(u), cloud.LinkID(id))
			return fmt.Sprintf("link %s is revoked", id), changed, err
		})
}
