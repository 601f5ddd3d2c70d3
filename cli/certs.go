package cli

import (
	"context"
	"os"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) certs() *urfave.Command {
	return c.new("certs", "", "list certificates: who issued them, how long they last, what keeps the next one away", 0, 0, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Certificates(ctx, c.group(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, cert := range list {
				rows = append(rows, []string{cloud.Host(cert.Name).Shown(), cert.Issuer, date(cert.Expires), date(cert.Next), cert.Text})
			}
			if err := c.table([]string{"NAME", "ISSUER", "EXPIRES", "NEXT TRY", "STATUS"}, rows); err != nil {
				return err
			}
			for _, cert := range list {
				if cert.Error != "" {
					c.print("%s: %s", cert.Name, cert.Error)
					if cert.Hint != "" {
						c.say("hint: %s", cert.Hint)
					}
				}
			}
			return nil
		}))
}

// date is a time in a list, "-" for none.
func date(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// hostFlags are what map sets of a host.
func hostFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.BoolFlag{Name: "https-only", Usage: "lead requests without TLS to TLS; --https-only=false ends that"},
		&urfave.StringFlag{Name: "hsts", Usage: "browsers are to ask by TLS alone for `TIME`, such as 180d; 0 ends that"},
		&urfave.StringFlag{Name: "client-ca", Usage: "clients need a certificate of an authority in `FILE`; none ends that"},
		&urfave.BoolFlag{Name: "require-login", Usage: "people must log in to see the host; --require-login=false ends that"},
		&urfave.StringFlag{Name: "login-group", Usage: "they need a role in group `NAME`, else in the app's"},
		&urfave.DurationFlag{Name: "wait", Value: time.Minute, Usage: "wait `TIME` at most for the certificate of a public host; 0 does not wait"},
	}
}

func setHost(u *urfave.Context, m *api.Mapping) error {
	m.HTTPSOnly, m.Login = said(u, "https-only"), said(u, "require-login")
	m.HSTS = u.String("hsts")
	m.LoginOf = cloud.GroupName(u.String("login-group"))
	if !u.IsSet("client-ca") {
		return nil
	}
	text := ""
	if file := u.String("client-ca"); file != "none" {
		b, err := os.ReadFile(file)
		if err != nil {
			return cloud.Errorf(cloud.Invalid, "cannot read the authorities of clients: %w", err)
		}
		text = string(b)
	}
	m.ClientCA = &text
	return nil
}

// awaitCertificate waits until a public host has its certificate, the order for it has failed, or the time is over.
// It says which. Where the node orders none, there is nothing to wait for.
func (c *command) awaitCertificate(ctx context.Context, client *api.Client, g cloud.GroupName, host string, limit time.Duration) error {
	if limit <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun, waiting := time.Now(), false
	for {
		list, err := client.Certificates(ctx, g)
		if err != nil && ctx.Err() == nil {
			return err
		}
		var now *api.Certificate
		for i := range list {
			if list[i].Name == host {
				now = &list[i]
			}
		}
		switch {
		case err == nil && now == nil:
			return nil
		case now == nil:
		case now.Expires != nil && now.Status != api.Fail:
			c.say("%s has a certificate of %s until %s", host, now.Issuer, date(now.Expires))
			return nil
		case now.Error != "" && now.Tried != nil && now.Tried.After(begun.Add(-limit)):
			return cloud.Errorf(cloud.Unavailable, "%s is mapped, and has no certificate yet: %s: %s", host, now.Step, now.Error).WithHint("%s", hintOf(now))
		case now.Status == api.Fail && now.Error == "":
			return cloud.Errorf(cloud.Unavailable, "%s is mapped, and has no certificate: %s", host, now.Text).WithHint("%s", hintOf(now))
		}
		if !waiting {
			waiting = true
			c.say("waiting for the certificate of %s", host)
		}
		select {
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return cloud.Errorf(cloud.Unavailable, "%s is mapped, and has no certificate after %v", host, limit).WithHint("micro certs shows when it comes, or why not")
			}
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func hintOf(c *api.Certificate) string {
	if c.Hint != "" {
		return c.Hint + "; micro certs"
	}
	return "micro certs"
}
