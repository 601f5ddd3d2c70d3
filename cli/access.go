package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// family makes a command of nothing but commands below it.
func family(name, usage string, below ...*urfave.Command) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, Subcommands: below, HideHelpCommand: true, OnUsageError: usageError,
		Action: func(u *urfave.Context) error { return urfave.ShowSubcommandHelp(u) },
	}
}

// changed makes a command that changes one thing and says what it did.
func (c *command) changed(name, args, usage string, least, most int, flags []urfave.Flag, do func(context.Context, *urfave.Context, *api.Client) (said string, changed api.Changed, err error)) *urfave.Command {
	return c.new(name, args, usage, least, most, append(flags, jsonFlag),
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			said, changed, err := do(ctx, u, client)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(changed)
			}
			c.say("%s", said)
			return nil
		}))
}

func (c *command) groupCommand() *urfave.Command {
	type doing = func(context.Context, *api.Client, cloud.GroupName) (api.Changed, error)
	change := func(name, usage, done string, do doing) *urfave.Command {
		return c.changed(name, "NAME", usage, 1, 1, nil, func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			group := cloud.GroupName(u.Args().First())
			changed, err := do(ctx, client, group)
			return fmt.Sprintf("group %s is %s", group, done), changed, err
		})
	}
	list := c.new("list", "", "list the groups that you have a role in", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			groups, err := client.Groups(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(groups)
			}
			var rows [][]string
			for _, g := range groups {
				rows = append(rows, []string{string(g.Name), strconv.Itoa(g.Apps), string(g.Role), ago(g.Created)})
			}
			return c.table([]string{"GROUP", "APPS", "YOUR ROLE", "AGE"}, rows)
		}))
	approval := c.changed("approval", "NAME", "have releases approved before the public reaches them", 1, 1, []urfave.Flag{
		&urfave.BoolFlag{Name: "off", Usage: "no longer"},
	}, func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
		group, said := cloud.GroupName(u.Args().First()), "wants releases approved before the public reaches them"
		if u.Bool("off") {
			said = "wants no approvals"
		}
		changed, err := client.RequireApproval(ctx, group, !u.Bool("off"))
		return fmt.Sprintf("group %s %s", group, said), changed, err
	})
	return family("group", "groups, which own apps and in which people have roles", list, approval,
		change("create", "make a group", "made", func(ctx context.Context, client *api.Client, g cloud.GroupName) (api.Changed, error) {
			return client.CreateGroup(ctx, g)
		}),
		change("delete", "remove a group that owns no apps and hosts", "removed", func(ctx context.Context, client *api.Client, g cloud.GroupName) (api.Changed, error) {
			return client.DeleteGroup(ctx, g)
		}))
}

func (c *command) quota() *urfave.Command {
	show := c.new("show", "[GROUP]", "show what a group may use, and what it uses", 0, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			q, err := client.Quota(ctx, cmp.Or(cloud.GroupName(u.Args().First()), c.group(u)))
			if err != nil {
				return err
			}
			return c.printQuota(u, q)
		}))
	set := c.new("set", "GROUP", "bound what a group may use; 0 is no limit", 1, 1, []urfave.Flag{
		&urfave.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "the limits of its instances come to `SIZE` at most, for example 8G"},
		&urfave.IntFlag{Name: "instances", Usage: "at most `N` instances"},
		&urfave.IntFlag{Name: "services", Usage: "at most `N` services"},
		&urfave.IntFlag{Name: "public-hosts", Usage: "at most `N` public hosts"},
		jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		var change api.QuotaChange
		if text := u.String("memory"); text != "" {
			size := int64(0)
			if text != "0" {
				var err error
				if size, err = cloud.ParseSize(text); err != nil {
					return err
				}
			}
			change.Memory = &size
		}
		for name, field := range map[string]**int{"instances": &change.Instances, "services": &change.Services, "public-hosts": &change.PublicHosts} {
			if u.IsSet(name) {
				n := u.Int(name)
				*field = &n
			}
		}
		if change == (api.QuotaChange{}) {
			return cloud.Errorf(cloud.Invalid, "quota set wants at least one limit").WithCommand("micro quota set shop --memory 8G")
		}
		q, err := client.SetQuota(ctx, cloud.GroupName(u.Args().First()), change)
		if err != nil {
			return err
		}
		return c.printQuota(u, q)
	}))
	return family("quota", "what a group may use", show, set)
}

func (c *command) printQuota(u *urfave.Context, q api.Quota) error {
	if u.Bool("json") {
		return c.printJSON(q)
	}
	limit := func(n int) string {
		if n == 0 {
			return "no limit"
		}
		return strconv.Itoa(n)
	}
	memory := "no limit"
	if q.Limit.Memory > 0 {
		memory = cloud.FormatSize(q.Limit.Memory)
	}
	return c.table([]string{"GROUP " + string(q.Group), "USED", "OF"}, [][]string{
		{"memory", cloud.FormatSize(q.Used.Memory), memory},
		{"instances", strconv.Itoa(q.Used.Instances), limit(q.Limit.Instances)},
		{"services", strconv.Itoa(q.Used.Services), limit(q.Limit.Services)},
		{"public hosts", strconv.Itoa(q.Used.PublicHosts), limit(q.Limit.PublicHosts)},
	})
}

var passwordFlag = &urfave.BoolFlag{Name: "password-stdin", Usage: "read the password from standard input"}

func (c *command) user() *urfave.Command {
	list := c.new("list", "", "list all users", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			users, err := client.Users(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(users)
			}
			var rows [][]string
			for _, user := range users {
				by := "password"
				if !user.Password {
					by = cmp.Or(user.Provider, "-")
				}
				if user.Disabled {
					by = "disabled"
				}
				rows = append(rows, []string{string(user.Name), by, ago(user.Created), user.By})
			}
			return c.table([]string{"USER", "LOGS IN BY", "AGE", "MADE BY"}, rows)
		}))
	create := c.changed("create", "NAME", "make a user, who has no role yet", 1, 1, []urfave.Flag{
		passwordFlag, &urfave.BoolFlag{Name: "no-password", Usage: "the user logs in by other means"},
	}, func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
		user := api.NewUser{Name: cloud.UserName(u.Args().First())}
		if !u.Bool("no-password") {
			var err error
			if user.Password, err = c.newPassword(u); err != nil {
				return "", api.Changed{}, err
			}
		}
		changed, err := client.CreateUser(ctx, user)
		return fmt.Sprintf("user %s is made\nmicro role grant developer %s gives a role", user.Name, user.Name), changed, err
	})
	named := func(name, usage, done string, do func(context.Context, *api.Client, cloud.UserName) (api.Changed, error)) *urfave.Command {
		return c.changed(name, "NAME", usage, 1, 1, nil, func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			user := cloud.UserName(u.Args().First())
			changed, err := do(ctx, client, user)
			return fmt.Sprintf("user %s is %s", user, done), changed, err
		})
	}
	password := c.changed("password", "NAME", "set another password, which ends the user's log-ins", 1, 1, []urfave.Flag{passwordFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			name := cloud.UserName(u.Args().First())
			var change api.NewPassword
			who, err := client.Whoami(ctx)
			if err != nil {
				return "", api.Changed{}, err
			}
			if who.Name == string(name) {
				if change.Old, err = c.password(u, "present password: "); err != nil {
					return "", api.Changed{}, err
				}
			}
			if change.New, err = c.newPassword(u); err != nil {
				return "", api.Changed{}, err
			}
			changed, err := client.SetPassword(ctx, name, change)
			return fmt.Sprintf("user %s has another password", name), changed, err
		})
	return family("user", "people who may log in", list, create,
		named("delete", "remove a user with all roles and tokens", "removed", func(ctx context.Context, client *api.Client, n cloud.UserName) (api.Changed, error) {
			return client.DeleteUser(ctx, n)
		}),
		named("disable", "take all rights from a user", "disabled", func(ctx context.Context, client *api.Client, n cloud.UserName) (api.Changed, error) {
			return client.DisableUser(ctx, n, true)
		}),
		named("enable", "give a user the rights back", "enabled", func(ctx context.Context, client *api.Client, n cloud.UserName) (api.Changed, error) {
			return client.DisableUser(ctx, n, false)
		}),
		password)
}

// line reads a secret from standard input, one a line.
func (c *command) line() (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(io.LimitReader(c.Stdin, 1<<16))
	}
	line, err := c.lines.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", cloud.Errorf(cloud.Invalid, "standard input has no password: %w", err)
	}
	return line, nil
}

// password reads a password from standard input, one a line, or asks for it.
func (c *command) password(u *urfave.Context, question string) (string, error) {
	if u.Bool("password-stdin") {
		return c.line()
	}
	in, ok := c.Stdin.(interface{ Fd() uintptr })
	if !ok || !terminal(c.Stdin) {
		return "", cloud.Errorf(cloud.Invalid, "there is no terminal to ask for the password").WithHint("add --password-stdin")
	}
	fmt.Fprint(c.Stderr, question)
	secret, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(c.Stderr)
	if err != nil {
		return "", cloud.Errorf(cloud.Interrupted, "no password was given: %w", err)
	}
	return string(secret), nil
}

// newPassword asks twice, as nobody sees what is typed.
func (c *command) newPassword(u *urfave.Context) (string, error) {
	first, err := c.password(u, "new password: ")
	if err != nil || u.Bool("password-stdin") {
		return first, err
	}
	again, err := c.password(u, "once more: ")
	if err == nil && first != again {
		err = cloud.Errorf(cloud.Invalid, "the two passwords differ")
	}
	return first, err
}

var wholeCloud = &urfave.BoolFlag{Name: "cloud", Usage: "in the whole cloud"}

func (c *command) role() *urfave.Command {
	change := func(name, usage, done string, do func(*api.Client, context.Context, cloud.GroupName, api.RoleChange) (api.Changed, error)) *urfave.Command {
		return c.changed(name, "ROLE USER", usage, 2, 2, []urfave.Flag{groupFlag, wholeCloud},
			func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
				r := api.RoleChange{Role: cloud.Role(u.Args().First()), Subject: u.Args().Get(1)}
				group, where := c.group(u), "group "+string(c.group(u))
				if u.Bool("cloud") {
					group, where = "", "the whole cloud"
				}
				if err := r.Role.Validate(); err != nil {
					return "", api.Changed{}, err
				}
				changed, err := do(client, ctx, group, r)
				return fmt.Sprintf("%s %s %s in %s", r.Subject, done, r.Role, where), changed, err
			})
	}
	list := c.new("list", "", "list roles: your own, and those in groups that you are admin of", 0, 0, []urfave.Flag{
		&urfave.StringFlag{Name: "group", Aliases: []string{"g"}, Usage: "those in group `NAME` alone"}, jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		roles, err := client.Roles(ctx)
		if err != nil {
			return err
		}
		if g := u.String("group"); g != "" {
			roles = slices.DeleteFunc(roles, func(r api.Role) bool { return string(r.Group) != g })
		}
		if u.Bool("json") {
			return c.printJSON(roles)
		}
		var rows [][]string
		for _, r := range roles {
			rows = append(rows, []string{r.Subject, string(r.Role), cmp.Or(string(r.Group), "(whole cloud)"), r.By, ago(r.Created)})
		}
		return c.table([]string{"WHO", "ROLE", "GROUP", "GRANTED BY", "AGE"}, rows)
	}))
	return family("role", "what users and groups of users may do", list,
		change("grant", "give USER, unix:GROUP or oidc:GROUP the role auditor, tester, developer, releaser or admin", "is now", (*api.Client).GrantRole),
		change("revoke", "take a role away again", "is no longer", (*api.Client).RevokeRole))
}

func (c *command) whoami() *urfave.Command {
	return c.new("whoami", "", "show who you are for the cloud, and your roles", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			who, err := client.Whoami(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(who)
			}
			c.print("%s, from %s", who.Name, who.Source)
			if who.Token != "" {
				c.print("by token %s", who.Token)
			}
			for _, r := range who.Roles {
				c.print("%s in %s", r.Role, cmp.Or(string(r.Group), "the whole cloud"))
			}
			if len(who.Roles) == 0 {
				c.print("no role yet: an admin grants one with micro role grant")
			}
			return nil
		}))
}
