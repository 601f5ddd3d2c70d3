package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) webhook() *urfave.Command {
	return family("webhook", "tell other programs, such as a chat, what happens to apps", c.webhookAdd(), c.webhookList(), c.webhookTest(), c.webhookRemove())
}

func (c *command) webhookAdd() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag,
		&urfave.StringFlag{Name: "name", Usage: "call it `NAME`; without this, the first part of the URL's host"},
		newRepeated("on", "", "send only `KIND`; may be repeated"),
		&urfave.BoolFlag{Name: "inside", Usage: "allow an address that only the nodes can reach, and http"},
	}
	return c.new("add", "URL", "send notices to a URL", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			w := api.NewWebhook{Name: u.String("name"), URL: u.Args().First(), Inside: u.Bool("inside")}
			if w.Name == "" {
				if parsed, err := url.Parse(w.URL); err == nil {
					w.Name, _, _ = strings.Cut(parsed.Hostname(), ".")
				}
			}
			for _, kind := range valuesOf(u, "on") {
				w.Kinds = append(w.Kinds, cloud.NoticeKind(kind))
			}
			made, err := client.AddWebhook(ctx, c.group(u), w)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(made)
			}
			c.print("webhook %s sends to %s: %s", made.Name, made.Host, joinKinds(made.Kinds))
			c.say("the receiver can check the signature X-Micro-Signature-256 with this key, which is shown only now: %s", made.Secret)
			return nil
		}))
}

func (c *command) webhookList() *urfave.Command {
	return c.new("list", "", "list webhooks, and whether they work", 0, 0, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Webhooks(ctx, c.group(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, w := range list {
				last, result := "-", "-"
				if w.Sent != nil {
					last, result = ago(*w.Sent), "ok"
				}
				if w.Error != "" {
					result = w.Error
				}
				rows = append(rows, []string{w.Name, w.Host, joinKinds(w.Kinds), w.By, last, result})
			}
			return c.table([]string{"NAME", "HOST", "SENDS", "BY", "LAST", "RESULT"}, rows)
		}))
}

func (c *command) webhookTest() *urfave.Command {
	return c.new("test", "NAME", "send a notice now", 1, 1, []urfave.Flag{groupFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			if err := client.TestWebhook(ctx, c.group(u), u.Args().First()); err != nil {
				return err
			}
			c.print("webhook %s accepted a notice", u.Args().First())
			return nil
		}))
}

func (c *command) webhookRemove() *urfave.Command {
	return c.changed("remove", "NAME", "remove a webhook", 1, 1, []urfave.Flag{groupFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			name := u.Args().First()
			changed, err := client.RemoveWebhook(ctx, c.group(u), name)
			return fmt.Sprintf("webhook %s is removed", name), changed, err
		})
}

// joinKinds lists kinds; "everything" for all.
func joinKinds(kinds []cloud.NoticeKind) string {
	if len(kinds) == len(cloud.NoticeKinds()) {
		return "everything"
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
