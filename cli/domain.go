package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// theAddress stands for an address that the node does not know.
const theAddress = "the address at which the world reaches this node"

func (c *command) domainCommand() *urfave.Command {
	add := c.new("add", "DOMAIN", "add a domain, and print the DNS records to set", 1, 1, []urfave.Flag{
		groupFlag, jsonFlag,
		&urfave.StringFlag{Name: "server", Usage: "the world finds this cloud's DNS server at `HOST` (default micro-dns.DOMAIN)"},
		&urfave.StringFlag{Name: "via", Usage: "use the delegation of another `DOMAIN` that was added, by a CNAME"},
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		d, err := client.AddDomain(ctx, c.group(u), api.NewDomain{Name: u.Args().First(), Server: u.String("server"), Via: u.String("via")})
		if err != nil {
			return err
		}
		if u.Bool("json") {
			return c.printJSON(d)
		}
		c.say("set at the DNS provider of %s:", d.Name)
		if err := c.table([]string{"NAME", "TYPE", "VALUE"}, recordRows(d.Records)); err != nil {
			return err
		}
		if r, ok := d.Forbidden(); ok {
			c.say("its certificates cannot be issued yet: %s", r.Text)
			c.say("hint: %s", r.Hint)
		}
		c.say("then: micro domain check %s", d.Name)
		return nil
	}))
	list := c.new("list", "", "list domains, and the DNS records to set for them", 0, 0, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			domains, err := client.Domains(ctx, c.group(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(domains)
			}
			var rows [][]string
			for _, d := range domains {
				for i, row := range recordRows(d.Records) {
					name := d.Name.Shown()
					if i > 0 {
						name = ""
					}
					rows = append(rows, append([]string{name}, row...))
				}
			}
			return c.table([]string{"DOMAIN", "NAME", "TYPE", "VALUE"}, rows)
		}))
	remove := c.changed("remove", "DOMAIN", "remove a domain; certificates in hand serve to their end", 1, 1, []urfave.Flag{groupFlag, yesFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			changed, err := client.RemoveDomain(ctx, c.group(u), u.Args().First(), u.Bool("yes"))
			return fmt.Sprintf("domain %s is removed; its records at the DNS provider are of no use any more", u.Args().First()), changed, err
		})
	check := c.new("check", "DOMAIN", "look up what the world sees of a domain, and name the record that is missing", 1, 1, []urfave.Flag{groupFlag, jsonFlag}, c.with(c.checkDomain))
	return family("domain", "domains whose certificates, wildcards too, are proved by DNS", add, list, check, remove)
}

func recordRows(records []api.DNSRecord) (rows [][]string) {
	for _, r := range records {
		rows = append(rows, []string{string(r.Name), r.Type, cmp.Or(r.Value, theAddress)})
	}
	return rows
}

func (c *command) checkDomain(ctx context.Context, u *urfave.Context, client *api.Client) error {
	check, err := client.CheckDomain(ctx, c.group(u), u.Args().First())
	if err != nil {
		return err
	}
	if u.Bool("json") {
		if err := c.printJSON(check); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, r := range slices.Concat(check.Records, check.CAA) {
			rows = append(rows, []string{string(r.Status), string(r.Name), r.Type, cmp.Or(r.Value, theAddress), r.Text})
		}
		if err := c.table([]string{"", "NAME", "TYPE", "VALUE", "SEEN"}, rows); err != nil {
			return err
		}
	}
	if check.OK {
		c.say("the world's questions about %s reach this cloud", check.Name)
		if r, ok := check.Forbidden(); ok {
			return cloud.Errorf(cloud.Unavailable, "certificates of %s cannot be issued: %s", check.Name, r.Text).WithHint("%s", r.Hint)
		}
		return nil
	}
	failed := cloud.Errorf(cloud.Unavailable, "the world's questions about %s do not reach this cloud", check.Name).WithCommand("micro domain list")
	if r, ok := check.Missing(); ok {
		failed = cloud.Errorf(cloud.Unavailable, "the world's questions about %s do not reach this cloud: %s %s: %s", check.Name, r.Name, r.Type, r.Text)
		if r.Hint != "" {
			failed = failed.WithHint("%s", r.Hint)
		}
	}
	return failed
}
