package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) service() *urfave.Command {
	logs := c.logs()
	logs.ArgsUsage, logs.Usage = "SERVICE", "show what a service prints"
	stats := c.stats()
	stats.ArgsUsage, stats.Usage = "SERVICE", "show what a service uses"
	return family("service", "databases and other backing services",
		c.createService(), c.listServices(), c.showService(), c.deleteService(), c.undeleteService(), c.serviceShell(),
		c.backupService(), c.listBackups(), c.restoreService(), c.drillService(), c.cloneService(), c.deleteBackup(), c.scheduleBackups(),
		c.backupPlaces(), c.addPlace(), c.removePlace(), c.upgradeService(), c.moveService(), logs, stats,
		c.serviceBroker(), c.servicePlans(), c.updateService(),
		c.serviceKinds(), c.serviceImage())
}

func (c *command) createService() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag, detach,
		&urfave.StringFlag{Name: "version", Usage: "`VERSION` of the kind, for example 15"},
		&urfave.StringFlag{Name: "plan", Aliases: []string{"m"}, Usage: "memory `SIZE`: 512M, 1G; with --broker the name of a plan"},
		&urfave.StringFlag{Name: "broker", Usage: "`BROKER` that is to provide it; KIND is then what it offers, see micro service plans"},
		parametersFlag,
		&urfave.BoolFlag{Name: "production", Usage: "only a releaser may bind it"},
		&urfave.StringFlag{Name: "url", Usage: "`URL` of an external service; - reads it from standard input"},
		&urfave.StringFlag{Name: "kind", Usage: "`KIND` of an external service, where its URL does not say it"},
	}
	return c.new("create", "KIND NAME", "create a service; KIND external is one that runs elsewhere, and of a broker KIND is what it offers", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			want := api.NewService{
				Name: cloud.AppName(u.Args().Get(1)), Kind: u.Args().First(), Version: u.String("version"), Production: u.Bool("production"),
			}
			if u.String("broker") != "" {
				return c.createAtBroker(ctx, u, client, want)
			}
			if plan := u.String("plan"); plan != "" {
				n, err := cloud.ParseSize(plan)
				if err != nil {
					return err
				}
				want.Memory = n
			}
			external := want.Kind == "external"
			switch {
			case external && u.String("url") == "":
				return cloud.Errorf(cloud.Invalid, "an external service needs its URL").WithCommand("micro service create external %s --url -", want.Name)
			case !external && u.IsSet("url"):
				return cloud.Errorf(cloud.Invalid, "--url is of external services").WithCommand("micro service create external %s --url -", want.Name)
			case external:
				var err error
				if want.Kind, want.URL, err = u.String("kind"), u.String("url"), nil; want.URL == "-" {
					if want.URL, err = c.readValue("the URL", ""); err != nil {
						return err
					}
				}
			}
			group := c.group(u)
			changed, err := client.CreateService(ctx, group, want)
			if err != nil {
				return err
			}
			app := cloud.AppRef{Group: group, App: want.Name}
			if err := c.await(ctx, u, client, app, changed); err != nil || u.Bool("json") {
				return err
			}
			c.say("micro bind APP %s gives an app an account there", app)
			return nil
		}))
}

func (c *command) serviceRef(u *urfave.Context) cloud.AppRef {
	return cloud.AppRef{Group: c.group(u), App: cloud.AppName(u.Args().First())}
}

func (c *command) listServices() *urfave.Command {
	return c.new("list", "", "list the services of a group", 0, 0, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Services(ctx, c.group(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, s := range list {
				phase := s.Phase
				if s.Until != nil {
					phase += ", kept until " + date(s.Until)
				}
				rows = append(rows, []string{string(s.Name), kindOf(s), phase, yesNo(s.Production), usersOf(s), ago(s.Created)})
			}
			return c.table([]string{"SERVICE", "KIND", "PHASE", "PRODUCTION", "BOUND TO", "AGE"}, rows)
		}))
}

func kindOf(s api.Service) string {
	if s.Version == "" {
		return s.Kind
	}
	return s.Kind + " " + s.Version
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// usersOf are the releases that are bound to a service.
func usersOf(s api.Service) string {
	var users []string
	for _, a := range s.Accounts {
		for _, n := range a.Releases {
			users = append(users, fmt.Sprintf("%s@r%d", a.App, n))
		}
	}
	return strings.Join(users, " ")
}

func (c *command) showService() *urfave.Command {
	return c.new("show", "SERVICE", "show a service and its accounts, with their sessions", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			s, err := client.Service(ctx, c.serviceRef(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(s)
			}
			c.print("service    %s", s.Name)
			c.print("kind       %s", kindOf(s))
			c.print("phase      %s", s.Phase)
			if s.Reason != "" {
				c.print("reason     %s", s.Reason)
			}
			if s.Broker != "" {
				c.print("broker     %s", s.Broker)
			}
			if s.Maintenance != "" {
				c.print("runs on    %s", s.Maintenance)
			}
			if s.UpgradeTo != "" {
				c.print("upgrade    micro service upgrade %s brings it to %s", s.Name, strings.TrimSuffix(s.UpgradeTo+": "+s.UpgradeNote, ": "))
			}
			if s.Dashboard != "" {
				c.print("dashboard  %s", s.Dashboard)
			}
			if s.Production {
				c.print("production yes: a releaser may bind it")
			}
			if s.Host != "" {
				c.print("address    %s:%d, for apps that are bound to it", s.Host, s.Port)
				c.print("memory     %s", cloud.FormatSize(s.Memory))
			}
			c.showBackups(s)
			if len(s.Accounts) == 0 {
				return nil
			}
			var rows [][]string
			for _, a := range s.Accounts {
				if a.Expires != nil {
					a.Phase += " until " + date(a.Expires)
				}
				sessions, releases := "-", []string{}
				if a.Sessions != nil {
					sessions = strconv.Itoa(*a.Sessions)
				}
				for _, n := range a.Releases {
					releases = append(releases, release(n))
				}
				rows = append(rows, []string{string(a.App), a.User, a.Phase, sessions, strings.Join(releases, " ")})
			}
			return c.table([]string{"APP", "USER", "ACCOUNT", "SESSIONS", "RELEASES"}, rows)
		}))
}

func (c *command) deleteService() *urfave.Command {
	flags := []urfave.Flag{groupFlag, &urfave.BoolFlag{Name: "now", Usage: "have the broker of the service delete it at once, with its data"}}
	return c.changed("delete", "SERVICE", "stop a service that nothing is bound to; its data is kept for 7 days", 1, 1, flags,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			ref := c.serviceRef(u)
			changed, err := client.DeleteService(ctx, ref, u.Bool("now"))
			if u.Bool("now") {
				return fmt.Sprintf("the broker deletes service %s", ref), changed, err
			}
			return fmt.Sprintf("service %s is deleted; for 7 days micro service undelete %s brings it back", ref, ref), changed, err
		})
}

func (c *command) undeleteService() *urfave.Command {
	return c.new("undelete", "SERVICE", "bring a deleted service back, with its data", 1, 1, []urfave.Flag{groupFlag, jsonFlag, detach},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref := c.serviceRef(u)
			changed, err := client.UndeleteService(ctx, ref)
			if err != nil {
				return err
			}
			return c.await(ctx, u, client, ref, changed)
		}))
}

func (c *command) serviceShell() *urfave.Command {
	return c.new("shell", "SERVICE", "talk to a service with its own client: psql, redis-cli …", 1, 1, []urfave.Flag{groupFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref := c.serviceRef(u)
			s, err := client.Service(ctx, ref)
			if err != nil {
				return err
			}
			if s.Shell == "" {
				return cloud.Errorf(cloud.Invalid, "services of kind %s have no interactive client", s.Kind)
			}
			cmd := api.Command{Args: []string{"/bin/sh", "-c", s.Shell}, TTY: terminal(c.Stdin)}
			streams := api.Streams{Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr}
			if cmd.TTY {
				restore, err := c.takeTerminal(&cmd, &streams)
				if err != nil {
					return err
				}
				defer restore()
			}
			run := client.Exec
			if s.External {
				run = client.Run
			}
			code, err := run(ctx, ref, cmd, streams)
			if err == nil && code != 0 {
				err = exit(code)
			}
			return err
		}))
}

func (c *command) serviceKinds() *urfave.Command {
	return c.new("kinds", "[add FILE]", "list the kinds of services, or add one", 0, 2, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			switch {
			case u.NArg() == 0:
			case u.Args().First() != "add" || u.NArg() != 2:
				return cloud.Errorf(cloud.Invalid, "%q is not add FILE", strings.Join(u.Args().Slice(), " ")).WithCommand("micro service kinds add FILE")
			default:
				return c.addServiceKind(ctx, u, client, u.Args().Get(1))
			}
			list, err := client.ServiceKinds(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, k := range list {
				rows = append(rows, []string{k.Name, k.Title, strings.Join(sorted(k.Images), " "), k.Default, k.Images[k.Default]})
			}
			return c.table([]string{"KIND", "TITLE", "VERSIONS", "DEFAULT", "ITS IMAGE"}, rows)
		}))
}

func (c *command) addServiceKind(ctx context.Context, u *urfave.Context, client *api.Client, file string) error {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(c.Stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return cloud.Errorf(cloud.Invalid, "cannot read the kind's file: %w", err)
	}
	changed, err := client.AddServiceKind(ctx, string(text))
	if err == nil && u.Bool("json") {
		return c.printJSON(changed)
	}
	if err == nil {
		c.say("the kind is added: micro service create KIND NAME makes a service of it")
	}
	return err
}

func (c *command) serviceImage() *urfave.Command {
	return c.changed("image", "KIND VERSION IMAGE", "say from which image a version of a kind runs", 3, 3, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			kind, image := u.Args().First(), api.ServiceImage{Version: u.Args().Get(1), Image: u.Args().Get(2)}
			changed, err := client.SetServiceImage(ctx, kind, image)
			return fmt.Sprintf("new services of %s %s run from %s", kind, image.Version, image.Image), changed, err
		})
}
