package cli

import (
	"context"
	"iter"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) logs() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag,
		&urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "follow new lines"},
		&urfave.StringFlag{Name: "since", Usage: "only lines since `TIME`: 10m, 2h, or RFC 3339"},
		&urfave.StringFlag{Name: "process", Aliases: []string{"p"}, Usage: "only lines of process `NAME`"},
		&urfave.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 100, Usage: "at most the last `N` lines; -1 is all (default 100)"},
		&urfave.StringFlag{Name: "stream", Value: "app", Usage: "lines of `STREAM` app, router, build or api, or several with commas (default app)"},
		&urfave.BoolFlag{Name: "build", Usage: "what builds printed: --stream build"},
	}
	return c.new("logs", "APP[@rN]", "show what an app prints", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, err := c.ref(u, u.Args().First())
			if err != nil {
				return err
			}
			if n := u.Int("lines"); n < -1 {
				return cloud.Errorf(cloud.Invalid, "--lines %d is not a number of lines", n).WithHint("all lines are -n -1")
			}
			q := api.LogQuery{
				App: ref.AppRef, Release: ref.N, Process: cloud.ProcessName(u.String("process")),
				Follow: u.Bool("follow"), Tail: u.Int("lines"),
			}
			if u.IsSet("since") {
				if q.Since, err = sinceTime(u.String("since"), time.Now()); err != nil {
					return err
				}
				if !u.IsSet("lines") {
					q.Tail = -1
				}
			}
			if q.Streams, err = streams(u); err != nil {
				return err
			}
			read := client.Logs(ctx, q)
			if q.Follow {
				read = resumed(ctx, false, func(after string) iter.Seq2[api.LogLine, error] {
					if q.After = after; after != "" {
						q.Tail = -1
					}
					return client.Logs(ctx, q)
				}, func(l api.LogLine) string { return l.Cursor })
			}
			for line, err := range read {
				if err != nil {
					return err
				}
				if u.Bool("json") {
					err = c.printLine(line)
				} else {
					c.print("%s", line.String())
				}
				if err != nil {
					return err
				}
			}
			return nil
		}))
}

func streams(u *urfave.Context) ([]api.LogStream, error) {
	if u.Bool("build") {
		return []api.LogStream{api.StreamBuild}, nil
	}
	var list []api.LogStream
	for name := range strings.SplitSeq(u.String("stream"), ",") {
		s := api.LogStream(strings.TrimSpace(name))
		switch s {
		case api.StreamApp, api.StreamRouter, api.StreamBuild, api.StreamAPI:
			list = append(list, s)
		default:
			return nil, cloud.Errorf(cloud.Invalid, "unknown stream %q", name).WithHint("the streams are app, router, build, api")
		}
	}
	return list, nil
}

// sinceTime reads "10m" as that long before now, or a time.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, cloud.Errorf(cloud.Invalid, "%q is neither a time nor how long ago", s).WithHint("for example --since 10m or --since 2026-11-22T21:15:00Z")
}
