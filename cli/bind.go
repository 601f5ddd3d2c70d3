package cli

import (
	"context"
	"encoding/json"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// bindingParameters are flags for what the broker of a service is told of a binding.
var bindingParameters = []urfave.Flag{
	&urfave.StringFlag{Name: "parameters", Aliases: []string{"c"}, Usage: "`JSON` that the service's broker understands; - reads standard input"},
	newRepeated("param", "", "`NAME=VALUE` of the parameters, JSON or text; may be repeated"),
}

// readBindingParameters reads the parameters of a binding: an object, with those of single flags over it.
func (c *command) readBindingParameters(u *urfave.Context) (json.RawMessage, error) {
	text, err := c.readParameters(u)
	if err != nil || len(valuesOf(u, "param")) == 0 {
		return text, err
	}
	all := map[string]json.RawMessage{}
	if text != nil && json.Unmarshal(text, &all) != nil {
		return nil, cloud.Errorf(cloud.Invalid, "--parameters is not an object in JSON").WithHint(`for example --parameters '{"size": 2}'`)
	}
	for _, kv := range valuesOf(u, "param") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, cloud.Errorf(cloud.Invalid, "--param %q is not NAME=VALUE", kv)
		}
		if value := json.RawMessage(v); json.Valid(value) {
			all[k] = value
		} else if all[k], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return json.Marshal(all)
}

// bindingVerb makes a command that makes a release with other bindings, and waits for it as the flags say.
func (c *command) bindingVerb(name, args, usage string, n int, flags []urfave.Flag, read func(*urfave.Context) api.BindingChange) *urfave.Command {
	flags = append([]urfave.Flag{groupFlag, jsonFlag, detach}, flags...)
	if name != "unbind" {
		flags = append(flags, bindingParameters...)
	}
	return c.new(name, args, usage, n, n, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			change := read(u)
			if name != "unbind" {
				if change.Parameters, err = c.readBindingParameters(u); err != nil {
					return err
				}
			}
			if change.Service == "" || name == "rebind" && change.From == "" {
				return cloud.Errorf(cloud.Invalid, "rebind %s from which service, and to which?", ref).WithCommand("micro rebind %s --from OLD --to NEW", ref)
			}
			change.Release = ref.N
			changed, err := client.ChangeBindings(ctx, ref.AppRef, name, change)
			if api.ConnectionLost(err) {
				return cloud.Errorf(cloud.Unavailable, "the connection to the node was lost, and it is unknown whether the change was made: %w", err).WithCommand("micro releases %s", ref.AppRef)
			}
			if err != nil {
				return err
			}
			if changed.Release == 0 {
				c.say("kept for the first release of %s, which micro push makes", ref)
			}
			return c.await(ctx, u, client, ref.AppRef, changed)
		}))
}

func second(u *urfave.Context) cloud.AppName { return cloud.AppName(u.Args().Get(1)) }

func (c *command) bind() *urfave.Command {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "as", Usage: "environment `VARIABLE` for the URL; else the kind's, such as DATABASE_URL"},
		&urfave.StringFlag{Name: "name", Usage: "`NAME` that the app finds the binding by; else the service's"},
	}
	return c.bindingVerb("bind", "APP[@rN] SERVICE", "give an app an account at a service; it makes a release", 2, flags,
		func(u *urfave.Context) api.BindingChange {
			return api.BindingChange{Service: second(u), As: u.String("as"), Name: u.String("name")}
		})
}

func (c *command) unbind() *urfave.Command {
	return c.bindingVerb("unbind", "APP[@rN] SERVICE", "take an app's account away and end its sessions; it makes a release", 2, nil,
		func(u *urfave.Context) api.BindingChange { return api.BindingChange{Service: second(u)} })
}

func (c *command) rotate() *urfave.Command {
	return c.bindingVerb("rotate", "APP[@rN] SERVICE", "give an app another account, and revoke the old one when nothing uses it", 2, nil,
		func(u *urfave.Context) api.BindingChange { return api.BindingChange{Service: second(u)} })
}

func (c *command) rebind() *urfave.Command {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "from", Usage: "the `SERVICE` that is used now"},
		&urfave.StringFlag{Name: "to", Usage: "the `SERVICE` to use from now on"},
	}
	return c.bindingVerb("rebind", "APP[@rN]", "have an app use another service, without a lost request; it makes a release", 1, flags,
		func(u *urfave.Context) api.BindingChange {
			return api.BindingChange{Service: cloud.AppName(u.String("to")), From: cloud.AppName(u.String("from"))}
		})
}

func (c *command) bindings() *urfave.Command {
	return c.new("bindings", "APP[@rN]", "list the services that an app is bound to", 1, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			b, err := client.Bindings(ctx, ref)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(b)
			}
			var rows [][]string
			for _, b := range b.Items {
				rows = append(rows, []string{string(b.Service), b.Name, b.User, strings.Join(b.Variables, " ")})
			}
			return c.table([]string{"SERVICE", "NAME", "USER", "VARIABLES"}, rows)
		}))
}
