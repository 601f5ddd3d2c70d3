package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
)

func (c *command) timeline() *urfave.Command {
	return c.new("timeline", "APP", "show pushes, notes, locks, cross-fades and ways back of an app in one list", 1, 1, []urfave.Flag{
		groupFlag,
		&urfave.StringFlag{Name: "since", Usage: "only since `TIME`: 10m, 2h, or RFC 3339"},
		jsonFlag,
	}, c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
		ref, err := c.appRef(u, u.Args().First())
		if err != nil {
			return err
		}
		var since time.Time
		if u.IsSet("since") {
			if since, err = sinceTime(u.String("since"), time.Now()); err != nil {
				return err
			}
		}
		entries, err := client.Timeline(ctx, ref, since)
		if err != nil {
			return err
		}
		if u.Bool("json") {
			return c.printJSON(entries)
		}
		var rows [][]string
		for _, e := range entries {
			rows = append(rows, []string{e.Time.UTC().Format("2006-01-02 15:04:05"), timelineObject(e), strings.Replace(e.Kind, "-", " ", 1), e.By, timelineText(e)})
		}
		return c.table([]string{"TIME (UTC)", "WHAT", "EVENT", "BY", "WHY"}, rows)
	}))
}

// timelineObject is what an entry is about: a release, a host, or both.
func timelineObject(e api.TimelineEntry) string {
	host := string(e.Host) + strings.TrimSuffix(e.Path, "/")
	switch {
	case e.Release == 0:
		return host
	case e.Host == "":
		return release(e.Release)
	}
	return fmt.Sprintf("%s %s", release(e.Release), host)
}

func timelineText(e api.TimelineEntry) string {
	if e.Verdict == "" || strings.Contains(e.Text, e.Verdict) {
		return e.Text
	}
	return strings.TrimSuffix(e.Verdict+": "+e.Text, ": ")
}
