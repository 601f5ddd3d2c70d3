package cli

import (
	"context"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) explain() *urfave.Command {
	from := &urfave.StringFlag{Name: "from", Usage: "for a client at address `IP` (default this machine)"}
	assume := &urfave.BoolFlag{Name: "assume-dns", Usage: "leave out the look-up, as if the name were the node's already"}
	header := newRepeated("header", "H", "with a header field `NAME:VALUE`, which the route's rules may look at")
	return c.new("explain", "URL", "say where a request would go, and what blocks it", 1, 1, []urfave.Flag{from, header, assume, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			x, err := client.Explain(ctx, api.ExplainQuery{URL: u.Args().First(), From: u.String("from"), AssumeDNS: u.Bool("assume-dns"), Fields: valuesOf(u, "header")})
			if err != nil {
				return err
			}
			if u.Bool("json") {
				err = c.printJSON(x)
			} else {
				c.printHops(x)
			}
			if last := len(x.Hops) - 1; err == nil && !x.Works && last >= 0 {
				hop := x.Hops[last]
				return cloud.Errorf(cloud.Unavailable, "%s: %s", hop.Name, hop.Text).WithHint("%s", hop.Hint)
			}
			return err
		}))
}

// printHops prints the way of a request, a line a hop.
func (c *command) printHops(x api.Explanation) {
	marks := map[api.CheckStatus]string{api.OK: "ok  ", api.Warn: "warn", api.Fail: "fail"}
	if c.unicode() {
		marks = map[api.CheckStatus]string{api.OK: "✓", api.Warn: "!", api.Fail: "✗"}
	}
	c.print("%s from %s", x.URL, x.From)
	for _, hop := range x.Hops {
		c.print("%s %-8s  %s", marks[hop.Status], hop.Name, hop.Text)
		for _, line := range hop.Details {
			c.print("%s           %s", strings.Repeat(" ", len([]rune(marks[hop.Status]))), line)
		}
		if hop.Status == api.Warn && hop.Hint != "" {
			c.print("%s           hint: %s", strings.Repeat(" ", len([]rune(marks[hop.Status]))), hop.Hint)
		}
	}
}

// unicode says whether the locale's characters go beyond ASCII: the first of these variables that says
// anything decides (POSIX.1-2024, section 8.2).
func (c *command) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v, _ := c.Env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
