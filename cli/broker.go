package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

var parametersFlag = &urfave.StringFlag{Name: "parameters", Usage: "`JSON` that the broker understands; - reads it from standard input"}

func (c *command) serviceBroker() *urfave.Command {
	return family("broker", "Open Service Brokers, which provide services that run elsewhere",
		c.addBroker(), c.listBrokers(), c.showBroker(), c.refreshBroker(), c.removeBroker())
}

func (c *command) addBroker() *urfave.Command {
	flags := []urfave.Flag{&urfave.StringFlag{Name: "username", Usage: "`NAME` to log in with; the password is read from standard input, or asked for"}}
	return c.changed("add", "NAME URL", "let services be provided by a broker", 2, 2, flags,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			b := api.NewBroker{Name: u.Args().First(), URL: u.Args().Get(1), Username: u.String("username")}
			if b.Username != "" {
				var err error
				if b.Password, err = c.readValue("the password of "+b.Username, ""); err != nil {
					return "", api.Changed{}, err
				}
			}
			changed, err := client.AddBroker(ctx, b)
			return "micro service plans lists what the broker offers", changed, err
		})
}

func (c *command) listBrokers() *urfave.Command {
	return c.new("list", "", "list the service brokers", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Brokers(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, b := range list {
				rows = append(rows, []string{b.Name, b.URL, b.Username, fmt.Sprint(len(b.Offerings)), ago(b.Fetched), b.By})
			}
			return c.table([]string{"BROKER", "URL", "USER", "OFFERS", "FETCHED", "BY"}, rows)
		}))
}

func (c *command) showBroker() *urfave.Command {
	return c.new("show", "NAME", "show a broker, and the plans of what it offers", 1, 1, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			b, err := client.Broker(ctx, u.Args().First())
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(b)
			}
			c.print("broker  %s", b.Name)
			c.print("url     %s", b.URL)
			return c.printPlans([]api.Broker{b})
		}))
}

func (c *command) servicePlans() *urfave.Command {
	return c.new("plans", "", "list what the service brokers offer, with the plans", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Brokers(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			return c.printPlans(list)
		}))
}

func (c *command) printPlans(brokers []api.Broker) error {
	var rows [][]string
	for _, b := range brokers {
		for _, o := range b.Offerings {
			for _, p := range o.Plans {
				cost := "free"
				if p.Costs {
					cost = "costs"
				}
				rows = append(rows, []string{o.Name, p.Name, b.Name, cost, yesNo(p.Bindable), p.Description})
			}
		}
	}
	return c.table([]string{"KIND", "PLAN", "BROKER", "COST", "BINDABLE", "DESCRIPTION"}, rows)
}

func (c *command) refreshBroker() *urfave.Command {
	return c.changed("refresh", "NAME", "fetch again what a broker offers", 1, 1, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			name := u.Args().First()
			changed, err := client.RefreshBroker(ctx, name)
			return fmt.Sprintf("the plans of broker %s are up to date", name), changed, err
		})
}

func (c *command) removeBroker() *urfave.Command {
	return c.changed("remove", "NAME", "forget a broker, of which no service is left", 1, 1, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			name := u.Args().First()
			changed, err := client.RemoveBroker(ctx, name)
			return fmt.Sprintf("broker %s is forgotten", name), changed, err
		})
}

// readParameters returns the parameters for a broker.
func (c *command) readParameters(u *urfave.Context) (json.RawMessage, error) {
	text := u.String("parameters")
	if text == "-" {
		var err error
		if text, err = c.readValue("the parameters", ""); err != nil {
			return nil, err
		}
	}
	if text == "" {
		return nil, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, cloud.Errorf(cloud.Invalid, "--parameters is not JSON").WithHint(`for example --parameters '{"size": 2}'`)
	}
	return json.RawMessage(text), nil
}

// createAtBroker has a broker provision a service, and waits for it.
func (c *command) createAtBroker(ctx context.Context, u *urfave.Context, client *api.Client, want api.NewService) error {
	var err error
	want.Broker, want.Plan = u.String("broker"), u.String("plan")
	if want.Parameters, err = c.readParameters(u); err != nil {
		return err
	}
	ref := cloud.AppRef{Group: c.group(u), App: want.Name}
	changed, err := client.CreateService(ctx, ref.Group, want)
	if err != nil {
		return err
	}
	if err := c.awaitBroker(ctx, u, client, ref, changed); err != nil || u.Bool("json") {
		return err
	}
	if !u.Bool("detach") {
		c.say("micro bind APP %s gives an app an account there", ref)
	}
	return nil
}

func (c *command) updateService() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, detach, &urfave.StringFlag{Name: "plan", Usage: "the `PLAN` to change to"}, parametersFlag}
	return c.new("update", "SERVICE", "have a broker change a service's plan or parameters", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			parameters, err := c.readParameters(u)
			if err != nil {
				return err
			}
			ref := c.serviceRef(u)
			changed, err := client.UpdateService(ctx, ref, api.ServiceUpdate{Plan: u.String("plan"), Parameters: parameters})
			if err != nil {
				return err
			}
			return c.awaitBroker(ctx, u, client, ref, changed)
		}))
}

// brokerPoll is how often the node is asked how far a broker is.
const brokerPoll = 250 * time.Millisecond

// awaitBroker waits until a broker has done what it was asked about a service, or has failed.
func (c *command) awaitBroker(ctx context.Context, u *urfave.Context, client *api.Client, ref cloud.AppRef, changed api.Changed) error {
	for said := ""; !u.Bool("detach"); {
		s, err := client.Service(ctx, ref)
		if err != nil && !api.ConnectionLost(err) {
			return err
		}
		if now := strings.TrimSpace(s.Phase + " " + s.Reason); err == nil && now != said && !u.Bool("json") {
			said = now
			c.say("service %s: %s", ref, now)
		}
		switch {
		case err != nil, s.Phase == "provisioning", s.Phase == "updating":
		case s.Phase != "ready" || s.Reason != "":
			return cloud.Errorf(cloud.DeployFailed, "broker %s has failed: %s", s.Broker, s.Reason).WithCommand("micro service show %s", ref)
		default:
			if u.Bool("json") {
				return c.printJSON(changed)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(brokerPoll):
		}
	}
	if u.Bool("json") {
		return c.printJSON(changed)
	}
	return nil
}
