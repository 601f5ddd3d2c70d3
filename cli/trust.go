package cli

import (
	"context"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/hosttrust"
)

func (c *command) trust() *urfave.Command {
	domain := &urfave.StringFlag{Name: "domain", Usage: "the authorities of `DOMAIN` alone (default all that were installed)"}
	install := c.new("install", "", "make this machine trust the cloud's certificates of internal names", 0, 0, []urfave.Flag{jsonFlag}, c.with(c.trustInstall))
	uninstall := c.new("uninstall", "", "undo what micro trust install did", 0, 0, []urfave.Flag{domain, jsonFlag}, c.trustUninstall)
	status := c.new("status", "", "show which programs of this machine trust the cloud's certificates", 0, 0, []urfave.Flag{jsonFlag}, c.with(c.trustStatus))
	export := c.new("export", "", "print the certificate of the cloud's authority, as PEM, for other machines and programs", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			a, err := client.Authority(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(a)
			}
			c.print("%s", strings.TrimSpace(a.Certificate))
			return nil
		}))
	return &urfave.Command{
		Name: "trust", Usage: "the certificates of internal names, and who trusts them", Subcommands: []*urfave.Command{install, uninstall, status, export},
		HideHelpCommand: true, OnUsageError: usageError,
		Action: func(u *urfave.Context) error { return urfave.ShowSubcommandHelp(u) },
	}
}

// authority asks the target for its authority. The machine that is to trust it is this one.
func authority(ctx context.Context, client *api.Client) (*hosttrust.Authority, error) {
	a, err := client.Authority(ctx)
	if err != nil {
		return nil, err
	}
	return hosttrust.ParseAuthority(a.Domain, []byte(a.Certificate))
}

// trustReport is what the commands of trust print as JSON.
type trustReport struct {
	Domain      cloud.Domain `json:"domain,omitempty" doc:"The authority's; of uninstall the one that was asked for"`
	Fingerprint string       `json:"fingerprint,omitempty" doc:"SHA-256 of the authority's certificate, in hexadecimal"`
	Stores      []trustStore `json:"stores"`
}

// trustStore is one place where programs of this machine look for authorities.
type trustStore struct {
	Store   string          `json:"store" doc:"Which one, and which programs look there"`
	State   hosttrust.State `json:"trust" enum:"trusted,missing,unable" doc:"unable: it cannot be changed or read"`
	Text    string          `json:"text,omitempty" doc:"Why it cannot"`
	Hint    string          `json:"hint,omitempty" doc:"What to try next"`
	Changed bool            `json:"changed,omitempty" doc:"By this command"`
}

func trustStores(reports []hosttrust.Report) []trustStore {
	stores := []trustStore{}
	for _, r := range reports {
		stores = append(stores, trustStore(r))
	}
	return stores
}

func (c *command) trustInstall(ctx context.Context, u *urfave.Context, client *api.Client) error {
	a, err := authority(ctx, client)
	if err != nil {
		return err
	}
	reports := hosttrust.This().Install(ctx, a)
	if err := c.showTrust(u, trustReport{a.Domain, a.Fingerprint(), trustStores(reports)}); err != nil {
		return err
	}
	trusted := 0
	for _, r := range reports {
		if r.State == hosttrust.Trusted {
			trusted++
		}
	}
	if trusted == 0 {
		return cloud.Errorf(cloud.Unavailable, "no store of this machine could be changed").WithHint("run it as root: sudo micro trust install")
	}
	return nil
}

func (c *command) trustUninstall(u *urfave.Context) error {
	domain := cloud.Domain(strings.TrimSuffix(strings.ToLower(u.String("domain")), "."))
	if u.IsSet("domain") {
		if err := domain.Validate(); err != nil {
			return err
		}
	}
	reports := hosttrust.This().Uninstall(u.Context, domain)
	if u.Bool("json") {
		return c.printJSON(trustReport{Domain: domain, Stores: trustStores(reports)})
	}
	var failed, changed bool
	for _, r := range reports {
		switch {
		case r.State == hosttrust.Unable:
			failed = true
			c.printStore(r)
		case r.Changed:
			changed = true
			c.print("removed from %s", r.Store)
		}
	}
	switch {
	case failed:
		return cloud.Errorf(cloud.Unavailable, "not all stores of this machine could be changed").WithHint("run it as root: sudo micro trust uninstall")
	case !changed:
		c.print("nothing to undo: micro trust install was not used here")
	}
	return nil
}

func (c *command) trustStatus(ctx context.Context, u *urfave.Context, client *api.Client) error {
	a, err := authority(ctx, client)
	if err != nil {
		return err
	}
	reports := hosttrust.This().Status(ctx, a)
	if err := c.showTrust(u, trustReport{a.Domain, a.Fingerprint(), trustStores(reports)}); err != nil {
		return err
	}
	for _, r := range reports {
		if r.State == hosttrust.Missing {
			return cloud.Errorf(cloud.Unavailable, "%s does not trust the certificates of %s", r.Store, a.Domain).WithHint("sudo micro trust install")
		}
	}
	return nil
}

func (c *command) showTrust(u *urfave.Context, r trustReport) error {
	if u.Bool("json") {
		return c.printJSON(r)
	}
	c.print("authority  of %s, SHA-256 %s", r.Domain, r.Fingerprint)
	for _, s := range r.Stores {
		c.printStore(hosttrust.Report(s))
	}
	return nil
}

func (c *command) printStore(r hosttrust.Report) {
	text := map[hosttrust.State]string{hosttrust.Trusted: "trusts it", hosttrust.Missing: "does not trust it", hosttrust.Unable: "cannot be changed"}[r.State]
	if r.Changed && r.State == hosttrust.Trusted {
		text = "trusts it now"
	}
	if r.Text != "" {
		text += ": " + r.Text
	}
	c.print("%s: %s", r.Store, text)
	if r.Hint != "" {
		c.say("hint: %s", r.Hint)
	}
}
