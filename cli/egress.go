package cli

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) egress() *urfave.Command {
	return c.new("egress", "[APP] [deny|allow|open] [DESTINATION…]", "show or change what containers may reach outside: of an app, or of --group", 0, -1,
		[]urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			group, app, rest := c.group(u), cloud.AppName(""), u.Args().Slice()
			if len(rest) > 0 && !isEgressVerb(rest[0]) {
				ref, err := c.appRef(u, rest[0])
				if err != nil {
					return err
				}
				group, app, rest = ref.Group, ref.App, rest[1:]
			}
			var found api.Egress
			var err error
			if len(rest) == 0 {
				found, err = client.Egress(ctx, group, app)
			} else {
				change := api.EgressChange{App: app}
				if err := readEgress(&change, rest[0], rest[1:]); err != nil {
					return err
				}
				found, err = client.SetEgress(ctx, group, change)
			}
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(found)
			}
			c.print("%s", egressText(found))
			return nil
		}))
}

func isEgressVerb(word string) bool { return word == "deny" || word == "allow" || word == "open" }

func readEgress(change *api.EgressChange, verb string, destinations []string) error {
	switch {
	case verb == "allow" && len(destinations) > 0:
		change.Allow = destinations
	case verb == "deny":
		change.Forbid = destinations
	case verb == "open" && len(destinations) == 0:
		change.Open = true
	default:
		return cloud.Errorf(cloud.Invalid, "egress takes deny [DESTINATION…], allow DESTINATION… or open, and not %q", strings.Join(append([]string{verb}, destinations...), " ")).
			WithHint("for example micro egress shop allow api.example.com 192.0.2.0/24")
	}
	return nil
}

func egressText(e api.Egress) string {
	who := "group " + string(e.Group)
	if e.App != "" {
		who = cloud.AppRef{Group: e.Group, App: e.App}.String()
	}
	why := ""
	if e.Inherit {
		why = fmt.Sprintf(", as group %s", e.Group)
	}
	switch {
	case !e.Closed:
		return who + " reaches everything outside but metadata services"
	case len(e.Allowed) == 0:
		return who + " reaches nothing outside" + why
	}
	return who + " reaches nothing outside but " + strings.Join(e.Allowed, ", ") + why
}
