package cli

import (
	"context"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) scheduleBackups() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag,
		&urfave.StringFlag{Name: "daily", Usage: "every day at `HH:MM`, in UTC"},
		&urfave.StringFlag{Name: "cron", Usage: "the five `FIELDS` of crontab(5), in UTC, or @hourly and the like"},
		&urfave.IntFlag{Name: "keep", Value: 7, Usage: "keep the newest `N` scheduled backups"},
		&urfave.StringFlag{Name: "to", Usage: "`PLACE` of micro service places, or a folder on the leading node (default the node's own)"},
		&urfave.BoolFlag{Name: "off", Usage: "end the schedule; backups stay"},
	}
	return c.changed("schedule", "SERVICE", "back a service up by the clock", 1, 1, flags,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			ref := c.serviceRef(u)
			if u.Bool("off") {
				changed, err := client.EndSchedule(ctx, ref)
				return fmt.Sprintf("%s is not backed up by itself any more", ref), changed, err
			}
			cron, err := cronOf(u, ref)
			if err != nil {
				return "", api.Changed{}, err
			}
			changed, err := client.ScheduleBackups(ctx, ref, api.BackupSchedule{Cron: cron, Keep: u.Int("keep"), To: u.String("to")})
			if err != nil {
				return "", changed, err
			}
			s, err := client.Service(ctx, ref)
			if err != nil || s.Schedule == nil {
				return "", changed, err
			}
			return fmt.Sprintf("%s is backed up at %q, next at %s UTC; the newest %d are kept", ref, s.Schedule.Cron, date(s.Schedule.Next), s.Schedule.Keep), changed, nil
		})
}

// cronOf reads --daily or --cron.
func cronOf(u *urfave.Context, ref cloud.AppRef) (string, error) {
	daily, cron := u.String("daily"), u.String("cron")
	if (daily == "") == (cron == "") {
		return "", cloud.Errorf(cloud.Invalid, "say when %s is to be backed up, by --daily or --cron", ref).WithCommand("micro service schedule %s --daily 03:00", ref)
	}
	if daily == "" {
		return cron, nil
	}
	at, err := time.Parse("15:04", daily)
	if err != nil {
		return "", cloud.Errorf(cloud.Invalid, "--daily %q is not a time of day", daily).WithCommand("micro service schedule %s --daily 03:00", ref)
	}
	return fmt.Sprintf("%d %d * * *", at.Minute(), at.Hour()), nil
}

// showBackups prints what is known of a service's backups.
func (c *command) showBackups(s api.Service) {
	if s.Fills != "" {
		c.print("unfinished it is being filled with the data of %s", s.Fills)
	}
	if s.Backup != nil {
		c.print("backup     %s ago", ago(*s.Backup))
	}
	if b := s.Schedule; b != nil {
		c.print("schedule   %s UTC, next at %s, the newest %d are kept", b.Cron, date(b.Next), b.Keep)
		if b.Failed != nil {
			c.print("failed     %s", *b.Failed)
		}
	}
}
