package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) secret() *urfave.Command {
	secret := c.new("secret", "set|show|list|unset", "keep passwords and keys in an app's environment", 0, 0, nil,
		func(*urfave.Context) error {
			return cloud.Errorf(cloud.Invalid, "secret set, show, list or unset?").WithCommand("micro secret --help")
		})
	secret.Subcommands = []*urfave.Command{c.setSecret(), c.showSecret(), c.listSecrets(), c.unsetSecrets()}
	return secret
}

func (c *command) setSecret() *urfave.Command {
	file := &urfave.StringFlag{Name: "file", Usage: "read the value from `FILE`, as it is"}
	return c.new("set", "APP[@rN] KEY", "set a secret to a value from standard input; it makes a release", 2, 2, []urfave.Flag{groupFlag, file, jsonFlag, detach},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			name := u.Args().Get(1)
			if err := cloud.CheckEnvName(name); err != nil {
				return err
			}
			value, err := c.readValue(name, u.String("file"))
			if err != nil {
				return err
			}
			change := api.EnvChange{Release: ref.N, Set: map[string]string{name: value}, Secret: true}
			return c.changeEnv(ctx, u, client, ref, change)
		}))
}

func (c *command) showSecret() *urfave.Command {
	return c.new("show", "APP[@rN] KEY", "print a secret's value; the audit log tells who did", 2, 2, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			secret, err := client.Secret(ctx, ref, u.Args().Get(1))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(secret)
			}
			c.print("%s", secret.Value)
			return nil
		}))
}

func (c *command) listSecrets() *urfave.Command {
	return c.new("list", "APP[@rN]", "list the names of an app's secrets", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			env, err := client.Env(ctx, ref)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(api.List[string]{Items: append([]string{}, env.Secrets...)})
			}
			for _, name := range env.Secrets {
				c.print("%s", name)
			}
			return nil
		}))
}

func (c *command) unsetSecrets() *urfave.Command {
	return c.new("unset", "APP[@rN] KEY…", "remove secrets from an app's environment; it makes a release", 2, -1, []urfave.Flag{groupFlag, jsonFlag, detach},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			env, err := client.Env(ctx, ref)
			if err != nil {
				return err
			}
			names := u.Args().Tail()
			for _, name := range names {
				if !slices.Contains(env.Secrets, name) {
					return cloud.Errorf(cloud.NotFound, "%s has no secret %q", ref, name).WithCommand("micro secret list %s", ref)
				}
			}
			return c.changeEnv(ctx, u, client, ref, api.EnvChange{Release: ref.N, Unset: names})
		}))
}

// changeEnv makes a release with another environment, and waits for it as the flags say.
func (c *command) changeEnv(ctx context.Context, u *urfave.Context, client *api.Client, ref cloud.ReleaseRef, change api.EnvChange) error {
	changed, err := insist(ctx, func() (api.Changed, error) { return client.SetEnv(ctx, ref.AppRef, change) })
	if err != nil {
		return err
	}
	if changed.Release == 0 {
		c.say("kept for the first release of %s, which micro push makes", ref)
	}
	return c.await(ctx, u, client, ref.AppRef, changed)
}

// readValue returns a secret's value: a file's content as it is, what a person types, or standard input without its
// last end of line. The value is never an argument: other users of the machine can read those.
func (c *command) readValue(name, file string) (string, error) {
	var value []byte
	var err error
	switch in, isFile := c.Stdin.(*os.File); {
	case file != "":
		value, err = os.ReadFile(file)
	case isFile && term.IsTerminal(int(in.Fd())):
		fmt.Fprintf(c.Stderr, "value of %s: ", name)
		value, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.Stderr)
	default:
		value, err = io.ReadAll(io.LimitReader(c.Stdin, cloud.MaxEnvBytes+2))
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	}
	switch {
	case err != nil:
		return "", cloud.Errorf(cloud.Invalid, "cannot read the value of %s: %w", name, err)
	case len(value) == 0:
		return "", cloud.Errorf(cloud.Invalid, "the value of %s is empty", name).WithHint("echo VALUE | micro secret set APP %s", name)
	}
	return string(value), nil
}
