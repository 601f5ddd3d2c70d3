package cli

import (
	"context"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
)

func (c *command) key() *urfave.Command {
	show := func(name, usage string, flags []urfave.Flag, do func(context.Context, *urfave.Context, *api.Client) (api.CloudKeys, error)) *urfave.Command {
		return c.new(name, "", usage, 0, 0, append(flags, jsonFlag), c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			k, err := do(ctx, u, client)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(k)
			}
			c.print("key     %s", k.Key)
			for _, older := range k.Older {
				c.print("backups %s", older)
			}
			c.print("file    %s", k.File)
			return nil
		}))
	}
	return family("key", "the key to the cloud's secrets",
		show("show", "show the public keys of what secrets are sealed with", nil, func(ctx context.Context, _ *urfave.Context, client *api.Client) (api.CloudKeys, error) {
			return client.Keys(ctx)
		}),
		show("rotate", "seal every secret with a new key", nil, func(ctx context.Context, _ *urfave.Context, client *api.Client) (api.CloudKeys, error) {
			k, err := client.RotateKey(ctx)
			if err == nil {
				c.say("every secret is sealed with a new key: keep a copy of the key file, apart from the backups")
			}
			return k, err
		}))
}
