package cli

import (
	"context"
	"fmt"
	"iter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

// followTask shows how a task gets on, and returns its last event.
func (c *command) followTask(u *urfave.Context, events iter.Seq2[api.TaskEvent, error]) (last api.TaskEvent, err error) {
	p := c.progress(u)
	defer p.stop()
	for e, err := range events {
		if err != nil {
			return e, err
		}
		if e.Progress != nil {
			p.event(api.PushEvent{Progress: e.Progress})
		}
		last = e
	}
	return last, nil
}

func (c *command) backupService() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.StringFlag{Name: "to", Usage: "`FOLDER` on the node (default the node's own)"}}
	return c.new("backup", "SERVICE", "write all data of a service to a file, encrypted", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref := c.serviceRef(u)
			e, err := c.followTask(u, client.Backup(ctx, ref, api.NewBackup{To: u.String("to")}))
			if err != nil || e.Backup == nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(e.Backup)
			}
			c.print("%s", e.Backup.ID)
			c.say("%s of data in %s, in %s", sizeOf(e.Backup.Data), tookText(e.Backup.Took), placeOf(*e.Backup))
			return nil
		}))
}

// tookText is how long something took, as people read it.
func tookText(d cloud.Duration) string {
	t := time.Duration(d)
	if t < 10*time.Second {
		return fmt.Sprintf("%.1f s", t.Seconds())
	}
	if t < time.Minute {
		return fmt.Sprintf("%.0f s", t.Seconds())
	}
	return t.Round(time.Second).String()
}

// placeOf is where a backup is.
func placeOf(b api.Backup) string {
	where := "node " + string(b.Node)
	switch {
	case b.Node == "":
		return b.Place
	case b.Place != "":
		where += ":" + b.Place
	}
	return where
}

func (c *command) listBackups() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.StringFlag{Name: "in", Usage: "list what a `FOLDER` of the node has, also what micro does not know"}}
	return c.new("list-backups", "SERVICE", "list the backups of a service, the oldest first", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Backups(ctx, c.serviceRef(u), u.String("in"))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, b := range list {
				size, took := "-", "-"
				if b.Data > 0 {
					size, took = sizeOf(b.Data), tookText(b.Took)
				}
				rows = append(rows, []string{string(b.ID), ago(b.Taken), b.Kind + " " + b.Version, size, took, placeOf(b), b.By, date(b.Proven)})
			}
			return c.table([]string{"BACKUP", "AGE", "KIND", "DATA", "TOOK", "IN", "BY", "PROVEN"}, rows)
		}))
}

func (c *command) deleteBackup() *urfave.Command {
	return c.changed("delete-backup", "SERVICE BACKUP", "delete a backup", 2, 2, []urfave.Flag{groupFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			id := cloud.BackupID(u.Args().Get(1))
			changed, err := client.DeleteBackup(ctx, c.serviceRef(u), id)
			return fmt.Sprintf("backup %s is deleted", id), changed, err
		})
}

func fromFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "from", Usage: "`FOLDER` of the node that has the backup, also one that micro does not know"}
}

func (c *command) restoreService() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, yesFlag, fromFlag(), &urfave.StringFlag{Name: "of", Usage: "the `SERVICE` that was backed up (default the same)"}}
	return c.new("restore", "SERVICE BACKUP", "replace all data of a service by that of a backup, or of the latest one", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, choice := c.serviceRef(u), api.BackupChoice{Backup: cloud.BackupID(u.Args().Get(1)), Of: cloud.AppName(u.String("of")), From: u.String("from")}
			if !u.Bool("yes") {
				if _, err := client.Service(ctx, ref); err != nil {
					return err
				}
				if yes, _ := c.confirm(fmt.Sprintf("Replace all data of %s by backup %s?", ref, choice.Backup)); !yes {
					return cloud.Errorf(cloud.Invalid, "restoring %s replaces all its data: confirm with --yes", ref).WithCommand("micro service restore %s %s --yes", ref, choice.Backup)
				}
			}
			e, err := c.followTask(u, client.Restore(ctx, ref, choice))
			if err != nil || e.Backup == nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(e.Backup)
			}
			c.say("%s has the data of %s", ref, e.Backup.Taken.UTC().Format(time.DateTime+" MST"))
			return nil
		}))
}

func (c *command) drillService() *urfave.Command {
	return c.new("drill", "SERVICE [BACKUP]", "prove a backup, the latest by default: restore it into a throw-away service, and check the data", 1, 2, []urfave.Flag{groupFlag, jsonFlag, fromFlag()},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			e, err := c.followTask(u, client.Drill(ctx, c.serviceRef(u), api.BackupChoice{Backup: cloud.BackupID(u.Args().Get(1)), From: u.String("from")}))
			if err != nil || e.Drill == nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(e.Drill)
			}
			c.print("proven in %s: %s; %s of writes are younger than the backup", tookText(e.Drill.Took), e.Drill.Checked, tookText(e.Drill.Younger))
			return nil
		}))
}

func (c *command) cloneService() *urfave.Command {
	return c.new("clone", "SERVICE NEW", "create a service with the data that another one has now", 2, 2, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, name := c.serviceRef(u), second(u)
			e, err := c.followTask(u, client.Clone(ctx, ref, api.CloneRequest{Name: name}))
			if err != nil || e.Changed == nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(e.Changed)
			}
			made := cloud.AppRef{Group: ref.Group, App: name}
			c.say("service %s has the data of %s", made, ref)
			c.say("micro bind APP %s gives an app an account there", made)
			return nil
		}))
}
