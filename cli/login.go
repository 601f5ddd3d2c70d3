package cli

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) login() *urfave.Command {
	return c.new("login", "[USER]", "log in to the current target, by a password or by the OpenID Connect provider", 0, 1, []urfave.Flag{
		passwordFlag,
		&urfave.BoolFlag{Name: "device", Usage: "log in by the provider, with a code that is typed on another device"},
		&urfave.BoolFlag{Name: "browser", Usage: "log in by the provider, with a browser of this machine"},
		&urfave.BoolFlag{Name: "no-open", Usage: "print the provider's address, and open no browser"},
		&urfave.IntFlag{Name: "callback-port", Usage: "the browser comes back to `PORT` of localhost, else to any"},
	}, func(u *urfave.Context) error {
		name, t, err := c.chosen()
		if err != nil {
			return err
		}
		if name == "" {
			return cloud.Errorf(cloud.Invalid, "%s is no target, and the log-in has to be kept with one", t.URL).WithCommand("micro target add NAME %s", t.URL)
		}
		t.Token = "" // of an earlier log-in
		client, err := c.connectTo(t)
		if err != nil {
			return err
		}
		defer client.Close()
		in, err := c.logIn(u, client, t.User)
		if err != nil {
			return err
		}
		err = c.changeTargets(name, func(all *targets, name string) {
			t := all.Targets[name]
			t.User, t.Token = string(in.User), in.Token
			all.Targets[name] = t
		})
		if err == nil {
			c.say("logged in to %s as %s until %s", name, in.User, in.Expires.Local().Format("2006-01-02 15:04"))
		}
		return err
	})
}

// logIn logs in by what was asked for. known is the target's user, "" where nobody has logged in yet.
func (c *command) logIn(u *urfave.Context, client *api.Client, known string) (in api.LoggedIn, err error) {
	switch {
	case u.Bool("device") && u.NArg() == 0:
		return c.byDevice(u.Context, client)
	case u.Bool("browser") && u.NArg() == 0:
		return c.byBrowser(u.Context, client, u.Int("callback-port"), !u.Bool("no-open"))
	case u.Bool("device") || u.Bool("browser"):
		return in, cloud.Errorf(cloud.Invalid, "the provider says who you are, and %s logs in by password", u.Args().First()).WithCommand("micro login %s", u.Args().First())
	}
	user := cmp.Or(u.Args().First(), known)
	if user == "" {
		if user, err = c.ask("user: "); err != nil {
			return in, err
		}
	}
	password, err := c.password(u, fmt.Sprintf("password of %s: ", user))
	if err != nil {
		return in, err
	}
	return client.Login(u.Context, api.Login{User: cloud.UserName(user), Password: password})
}

// ask asks a person for a line.
func (c *command) ask(question string) (string, error) {
	if !terminal(c.Stdin) {
		return "", cloud.Errorf(cloud.Invalid, "there is no terminal to ask").WithCommand("micro login USER --password-stdin")
	}
	fmt.Fprint(c.Stderr, question)
	line, err := bufio.NewReader(c.Stdin).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return "", cloud.Errorf(cloud.Invalid, "nothing was answered: %w", err)
	}
	return line, nil
}

func (c *command) logout() *urfave.Command {
	return c.new("logout", "", "end the log-in to the current target", 0, 0, nil, func(u *urfave.Context) error {
		name, t, err := c.chosen()
		if err != nil {
			return err
		}
		if name == "" || t.Token == "" {
			return cloud.Errorf(cloud.Invalid, "nobody is logged in to %s", t.URL).WithCommand("micro target list")
		}
		client, err := c.connectTo(t)
		if err != nil {
			return err
		}
		defer client.Close()
		if _, err := client.Logout(u.Context); err != nil && cloud.CodeOf(err) != cloud.Unauthenticated {
			return err
		}
		c.say("logged out of %s", name)
		return c.changeTargets(name, func(all *targets, name string) {
			t := all.Targets[name]
			t.Token = ""
			all.Targets[name] = t
		})
	})
}

func (c *command) token() *urfave.Command {
	create := c.new("create", "", "make a token for a program; it is shown this once", 0, 0, []urfave.Flag{
		&urfave.StringFlag{Name: "name", Usage: "what it is for, as `TEXT`"},
		&urfave.StringFlag{Name: "expires", Value: "30d", Usage: "good for `TIME`, at most 90d"},
		&urfave.StringFlag{Name: "role", Usage: "at most `ROLE`; by default yours, and developer for a token of nobody"},
		newRepeated("scope", "", "only `SCOPE`: read, operate, push, deploy, route, crossfade; may be repeated"),
		newRepeated("operation", "", "also the operation `NAME`; may be repeated"),
		newRepeated("app", "", "only `APP`; may be repeated"),
		newRepeated("group", "g", "only apps of group `NAME`; may be repeated"),
		&urfave.IntFlag{Name: "max-share", Usage: "move traffic by cross-fades alone, to at most `PERCENT`"},
		&urfave.DurationFlag{Name: "max-time", Usage: "a cross-fade goes back after `TIME`"},
		&urfave.BoolFlag{Name: "verdict", Usage: "only cross-fades that are judged"},
		jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		n := api.NewToken{
			Name: u.String("name"), Role: cloud.Role(u.String("role")), Scopes: valuesOf(u, "scope"), Operations: valuesOf(u, "operation"),
			MaxShare: u.Int("max-share"), MaxTime: cloud.Duration(u.Duration("max-time")), Verdict: u.Bool("verdict"),
		}
		life, err := days(u.String("expires"))
		if err != nil {
			return err
		}
		n.For = cloud.Duration(life)
		group := c.usualGroup()
		for _, g := range valuesOf(u, "group") {
			n.Groups = append(n.Groups, cloud.GroupName(g))
			group = cloud.GroupName(g)
		}
		for _, text := range valuesOf(u, "app") {
			ref, err := cloud.ParseRef(text, group)
			if err != nil {
				return err
			}
			n.Apps = append(n.Apps, ref.AppRef)
		}
		if len(n.Apps) > 0 {
			n.Groups = slices.DeleteFunc(n.Groups, func(g cloud.GroupName) bool {
				return slices.ContainsFunc(n.Apps, func(a cloud.AppRef) bool { return a.Group == g })
			})
		}
		if n.Role == "" {
			if n.Role, err = c.roleOfToken(ctx, client); err != nil {
				return err
			}
		}
		made, err := client.CreateToken(ctx, n)
		if err != nil {
			return err
		}
		if u.Bool("json") {
			return c.printJSON(made)
		}
		c.say("token %s, good until %s; it is not shown again:", made.ID, made.Expires.Local().Format("2006-01-02 15:04"))
		c.print("%s", made.Token)
		return nil
	}))
	list := c.new("list", "", "list your tokens; an admin of the cloud sees all", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			tokens, err := client.Tokens(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(tokens)
			}
			var rows [][]string
			for _, t := range tokens {
				used := "-"
				if t.Used != nil {
					used = ago(*t.Used) + " ago"
				}
				what := cmp.Or(t.Name, "token")
				if t.Session {
					what = "log-in"
				}
				rows = append(rows, []string{string(t.ID), what, cmp.Or(string(t.Owner), "nobody"), limitsOfToken(t), used, t.Expires.Local().Format("2006-01-02 15:04")})
			}
			return c.table([]string{"ID", "WHAT", "OWNER", "LIMITS", "USED", "EXPIRES"}, rows, "USED")
		}))
	revoke := c.changed("revoke", "ID", "end a token", 1, 1, nil, func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
		id := cloud.TokenID(u.Args().First())
		changed, err := client.RevokeToken(ctx, id)
		return fmt.Sprintf("token %s is revoked", id), changed, err
	})
	return family("token", "tokens for programs, which may do no more than you", create, list, revoke)
}

// roleOfToken is the role of a token where none is given: none of its own where the caller is a user.
func (c *command) roleOfToken(ctx context.Context, client *api.Client) (cloud.Role, error) {
	who, err := client.Whoami(ctx)
	if err == nil && who.Token == "" {
		return cloud.RoleDeveloper, nil
	}
	return "", err
}

// days reads a time that may be in days: "30d", "12h".
func days(text string) (time.Duration, error) {
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n < 10_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, cloud.Errorf(cloud.Invalid, "%q is not a time", text).WithHint("for example 30d or 12h")
}

// limitsOfToken says in short what a token is limited to.
func limitsOfToken(t api.TokenInfo) string {
	var parts []string
	if t.Role != "" {
		parts = append(parts, string(t.Role))
	}
	parts = append(parts, t.Scopes...)
	parts = append(parts, t.Operations...)
	for _, g := range t.Groups {
		parts = append(parts, "group "+string(g))
	}
	for _, a := range t.Apps {
		parts = append(parts, a.String())
	}
	if f := t.Fade; f != nil {
		parts = append(parts, fmt.Sprintf("fades to %d %%", f.Share))
	}
	return strings.Join(parts, ", ")
}
