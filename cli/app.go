package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// The flags that several commands have.
var (
	jsonFlag  = &urfave.BoolFlag{Name: "json", Usage: "print JSON"}
	yesFlag   = &urfave.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
	groupFlag = &urfave.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "the apps of group `NAME` (default MICRO_GROUP, else default)"}
	detach    = &urfave.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return at once"}
)

// app is the whole command line.
func (c *command) app() *urfave.App {
	return explain(&urfave.App{
		Name:                   "micro",
		Usage:                  "a cloud in one binary: push a folder, get an address that works",
		Reader:                 c.Stdin,
		Writer:                 c.Stdout,
		ErrWriter:              c.Stderr,
		HideVersion:            true,
		UseShortOptionHandling: true,
		ExitErrHandler:         func(*urfave.Context, error) {}, // Main reports
		OnUsageError:           usageError,
		Action:                 func(ctx *urfave.Context) error { return urfave.ShowAppHelp(ctx) },
		Commands: slices.Concat(
			inCategory("The node", c.up(), c.downCommand(), c.cluster(), c.nodeCommand(), c.parity(), c.doctor(), c.dns(), c.certs(), c.domainCommand(), c.trust(), c.key(), c.df(), c.prune(), c.image(), c.version(), c.connect(), c.completion()),
			inCategory("Apps", c.push(), c.pushes(), c.ship(), c.bundle(), c.apps(), c.appCommand(), c.ps(), c.stats(), c.logs(), c.events(), c.exec(), c.run(),
				c.scale(), c.env(), c.secret(), c.restart(), c.stop(), c.start(), c.delete()),
			inCategory("Services", c.service(), c.volume(), c.bind(), c.unbind(), c.rebind(), c.rotate(), c.bindings()),
			inCategory("Releases", c.releases(), c.diff(), c.promote(), c.rollback(), c.verdict("approve", "say that a release may go to the public", true), c.verdict("reject", "say that it may not, and why", false), c.reviews(), c.timeline(), c.lock(), c.unlock()),
			inCategory("People", c.targetCommand(), c.login(), c.logout(), c.whoami(), c.token(), c.audit(), c.oidc(), c.webhook(), c.groupCommand(), c.quota(), c.egress(), c.user(), c.role()),
			inCategory("Routes", c.routes(), c.mapCommand(), c.unmap(), c.traffic(), c.swap(), c.hold(), c.limits(), c.crossfade(), c.cutover(), c.compare(), c.pass(), c.share(), c.explain()),
		),
	})
}

// inCategory puts commands under a heading of the help.
func inCategory(category string, commands ...*urfave.Command) []*urfave.Command {
	for _, c := range commands {
		c.Category = category
	}
	return commands
}

// new makes a command whose arguments number from least to most; most below 0 is any number.
func (c *command) new(name, args, usage string, least, most int, flags []urfave.Flag, do func(*urfave.Context) error) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: args, Flags: flags, OnUsageError: usageError, UseShortOptionHandling: true,
		HideHelpCommand: true,
		Action: func(ctx *urfave.Context) error {
			if n := ctx.NArg(); n < least || most >= 0 && n > most {
				what := "too few arguments"
				if n >= least {
					what = fmt.Sprintf("unexpected argument %q", ctx.Args().Get(most))
				}
				return cloud.Errorf(cloud.Invalid, "%s: %s", ctx.Command.HelpName, what).WithHint("%s", strings.TrimSpace(ctx.Command.HelpName+" "+args))
			}
			return withHelp(ctx.Command.HelpName, do(ctx))
		},
	}
}

// withHelp gives an error about what was typed the command's help as its hint, unless it has a hint of its own.
func withHelp(name string, err error) error {
	if cloud.CodeOf(err) != cloud.Invalid || cloud.HintOf(err) != "" {
		return err
	}
	return cloud.Errorf(cloud.Invalid, "%w", err).WithHint("%s --help", name)
}

// client connects to the cloud that is chosen.
func (c *command) client() (*api.Client, error) {
	_, t, err := c.chosen()
	if err != nil {
		return nil, err
	}
	return c.connectTo(t)
}

// with runs do with a client.
func (c *command) with(do func(context.Context, *urfave.Context, *api.Client) error) func(*urfave.Context) error {
	return func(ctx *urfave.Context) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		return do(ctx.Context, ctx, client)
	}
}

// group is the group that names without one belong to.
func (c *command) group(ctx *urfave.Context) cloud.GroupName {
	if g := ctx.String("group"); g != "" {
		return cloud.GroupName(g)
	}
	return c.usualGroup()
}

// usualGroup is the group of names where no flag says another one: MICRO_GROUP's, the target's, or the default.
func (c *command) usualGroup() cloud.GroupName {
	if g, ok := c.Env("MICRO_GROUP"); ok && g != "" {
		return cloud.GroupName(g)
	}
	if _, t, err := c.chosen(); err == nil && t.Group != "" {
		return t.Group
	}
	return cloud.DefaultGroup
}

// ref reads an argument as an app or release.
func (c *command) ref(ctx *urfave.Context, arg string) (cloud.ReleaseRef, error) {
	return cloud.ParseRef(arg, c.group(ctx))
}

// appRef reads an argument as an app. One release of it is more than the command is about.
func (c *command) appRef(ctx *urfave.Context, arg string) (cloud.AppRef, error) {
	ref, err := c.ref(ctx, arg)
	if err == nil && ref.N != 0 {
		err = cloud.Errorf(cloud.Invalid, "%s takes an app, and %s is one release of it", ctx.Command.HelpName, ref).
			WithHint("%s %s", ctx.Command.HelpName, ref.AppRef)
	}
	return ref.AppRef, err
}

// hostPath reads HOST[/PATH].
func hostPath(arg string) (host cloud.Host, path string, err error) {
	arg = strings.TrimPrefix(strings.TrimPrefix(arg, "http://"), "https://")
	name, rest, _ := strings.Cut(arg, "/")
	if host, err = cloud.ParseRouteHost(name); err != nil {
		return "", "", err
	}
	path, err = cloud.ParsePath(rest)
	return host, path, err
}
