package cli

import (
	"cmp"
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
)

func (c *command) audit() *urfave.Command {
	verify := c.new("verify", "", "read the whole audit log and check that no line was changed or removed", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			found, err := client.VerifyAudit(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(found)
			}
			c.print("lines %d to %d are whole", found.First, found.Last)
			return nil
		}))
	export := c.new("export", "", "print the audit log as JSON, one line each", 0, 0, []urfave.Flag{
		&urfave.Uint64Flag{Name: "after", Usage: "only lines behind number `N`"},
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		for l, err := range client.Audit(ctx, api.AuditQuery{After: u.Uint64("after"), Tail: -1}) {
			if err != nil {
				return err
			}
			if err := c.printLine(l); err != nil {
				return err
			}
		}
		return nil
	}))
	return family("audit", "the log of who did what, and who was refused; micro events --audit shows its end", verify, export)
}

// showAudit prints lines of the audit log.
func (c *command) showAudit(ctx context.Context, u *urfave.Context, client *api.Client, q api.EventQuery) error {
	for l, err := range client.Audit(ctx, api.AuditQuery{Since: q.Since, Tail: q.Tail, Follow: q.Follow}) {
		if err != nil {
			return err
		}
		if u.Bool("json") {
			if err := c.printLine(l); err != nil {
				return err
			}
			continue
		}
		result := l.Result
		if l.Count > 1 {
			result += fmt.Sprintf(" %d times", l.Count)
		}
		c.print("%s %s: %s %s, %s (%s)", l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), l.By, l.Verb, cmp.Or(l.Object, "-"), result, cmp.Or(l.Source, "inside"))
	}
	return nil
}
