package cli

import (
	"context"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) limits() *urfave.Command {
	return c.new("limits", "[HOST[/PATH]] [LIMIT=VALUE…]", "show or set timeouts and sizes, of a route or of all", 0, -1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			var q api.LimitsQuery
			args := u.Args().Slice()
			if len(args) > 0 && !strings.Contains(args[0], "=") {
				host, path, err := hostPath(args[0])
				if err != nil {
					return err
				}
				q.Host, q.Path = string(host), path
				args = args[1:]
			}
			set, err := limitsIn(args)
			if err != nil {
				return err
			}
			if len(set) > 0 {
				changed, err := client.SetLimits(ctx, c.group(u), api.NewLimits{Host: q.Host, Path: q.Path, Limits: set})
				if err != nil || u.Bool("json") {
					return c.done(u)(changed, err)
				}
			}
			list, err := client.Limits(ctx, c.group(u), q)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list.Items)
			}
			var rows [][]string
			for _, l := range list.Items {
				if _, named := set[l.Name]; named || len(set) == 0 {
					rows = append(rows, []string{l.Name, l.Value, l.From, l.About})
				}
			}
			return c.table([]string{"LIMIT", "VALUE", "SET BY", "FOR"}, rows)
		}))
}

// limitsIn reads LIMIT=VALUE.
func limitsIn(args []string) (map[string]string, error) {
	set := map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" || value == "" {
			return nil, cloud.Errorf(cloud.Invalid, "%q is no LIMIT=VALUE", arg).WithHint("for example answer-timeout=5m, max-body=2G or answer-timeout=default")
		}
		set[name] = value
	}
	return set, nil
}

// limitFlags are the limits that a route may have.
func limitFlags() (flags []urfave.Flag) {
	for _, k := range cloud.LimitKinds {
		if !k.Connection {
			value := "TIME"
			if k.Name == "max-body" {
				value = "SIZE"
			}
			flags = append(flags, &urfave.StringFlag{Name: k.Name, Usage: "at most `" + value + "`: " + k.About})
		}
	}
	return flags
}

// limitsOf are the limits among the flags, by name.
func limitsOf(u *urfave.Context) map[string]string {
	var set map[string]string
	for _, k := range cloud.LimitKinds {
		if !k.Connection && u.IsSet(k.Name) {
			if set == nil {
				set = map[string]string{}
			}
			set[k.Name] = u.String(k.Name)
		}
	}
	return set
}
