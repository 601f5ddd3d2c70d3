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
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.StringFlag{Name: "to", Usage: "`PLACE` of micro service places, or a folder on the node (default the node's own)"}}
	return c.new("backup", "SERVICE", "write all data of a service to a file, encrypted", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref := c.serviceRef(u)
			e, err := c.followTask(u, client.Backup(ctx, ref, api.NewBackup{To: u.String("to")}))
			if err != nil || e.Backup == nil {
				return err
			}
			return c.printBackup(u, *e.Backup)
		}))
}

// printBackup prints the ID of a new backup, and what it has.
func (c *command) printBackup(u *urfave.Context, b api.Backup) error {
	if u.Bool("json") {
		return c.printJSON(b)
	}
	c.print("%s", b.ID)
	c.say("%s of data in %s, in %s", sizeOf(b.Data), tookText(b.Took), placeOf(b))
	return nil
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
		return "place " + b.Place
	case b.Place != "":
		where += ":" + b.Place
	}
	return where
}

func (c *command) listBackups() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.StringFlag{Name: "in", Usage: "list what a `PLACE` has, or a folder of the node, also what micro does not know"}}
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
	return &urfave.StringFlag{Name: "from", Usage: "`PLACE`, or folder of the node, that has the backup, also one that micro does not know"}
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

func (c *command) upgradeService() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, detach, &urfave.StringFlag{Name: "version", Usage: "`VERSION` with the same major number (default the same, from its image of now)"}}
	return c.new("upgrade", "SERVICE", "back a service up, and run it from a newer image", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref := c.serviceRef(u)
			e, err := c.followTask(u, client.Upgrade(ctx, ref, api.ServiceUpgrade{Version: u.String("version")}))
			if err != nil || e.Changed == nil {
				return err
			}
			if s, err := client.Service(ctx, ref); err == nil && s.Broker != "" {
				return c.awaitBroker(ctx, u, client, ref, *e.Changed)
			}
			if e.Changed.Release == 0 && !u.Bool("json") {
				c.say("%s runs from the newest image already", ref)
			}
			return c.await(ctx, u, client, ref, *e.Changed)
		}))
}

func (c *command) backupPlaces() *urfave.Command {
	return c.new("places", "", "list the places for backups", 0, 0, []urfave.Flag{jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.BackupPlaces(ctx)
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, p := range list {
				rows = append(rows, []string{p.Name, p.Location, p.Endpoint, p.KeyID, p.By})
			}
			return c.table([]string{"PLACE", "LOCATION", "ENDPOINT", "KEY", "BY"}, rows)
		}))
}

func (c *command) addPlace() *urfave.Command {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "endpoint", Usage: "`URL` of the S3 server (default https://s3.amazonaws.com)"},
		&urfave.StringFlag{Name: "region", Usage: "`REGION` of the bucket (default what the server says)"},
		&urfave.StringFlag{Name: "key-id", Usage: "`ID` of the key; its secret is read from standard input, or asked for"},
	}
	return c.changed("add-place", "NAME FOLDER|s3://BUCKET/PREFIX", "let backups be kept in a folder of the nodes, or on an S3 server", 2, 2, flags,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			p := api.NewBackupPlace{Name: u.Args().First(), Location: u.Args().Get(1), Endpoint: u.String("endpoint"), Region: u.String("region"), KeyID: u.String("key-id")}
			if p.KeyID != "" {
				var err error
				if p.Secret, err = c.readValue("the secret of key "+p.KeyID, ""); err != nil {
					return "", api.Changed{}, err
				}
			}
			changed, err := client.AddBackupPlace(ctx, p)
			return fmt.Sprintf("micro service backup SERVICE --to %s keeps backups in %s", p.Name, p.Location), changed, err
		})
}

func (c *command) removePlace() *urfave.Command {
	return c.changed("remove-place", "NAME", "forget a place that has no backup", 1, 1, nil,
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			name := u.Args().First()
			changed, err := client.RemoveBackupPlace(ctx, name)
			return fmt.Sprintf("place %s is forgotten; its files stay", name), changed, err
		})
}
