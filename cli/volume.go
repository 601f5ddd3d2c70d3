package cli

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/protoduction/micro/api"
	"github.com/protoduction/micro/cloud"
)

func (c *command) volume() *urfave.Command {
	return family("volume", "the folders of apps that outlive instances and releases",
		c.listVolumes(), c.backupVolume(), c.listVolumeBackups(), c.restoreVolume(), c.deleteVolumeBackup(), c.moveVolume())
}

// owner is the app, or the service, that has the volumes.
func (c *command) owner(u *urfave.Context) cloud.AppRef { return c.serviceRef(u) }

func (c *command) listVolumes() *urfave.Command {
	return c.new("list", "[APP]", "list the volumes of a group or an app, and what they take on the disk", 0, 1, []urfave.Flag{groupFlag, jsonFlag},
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.Volumes(ctx, c.owner(u))
			if err != nil {
				return err
			}
			if u.Bool("json") {
				return c.printJSON(list)
			}
			var rows [][]string
			for _, v := range list {
				node, used, writers := string(v.Node), "-", "one"
				if v.Shared {
					writers = "shared"
				}
				if v.Size != nil {
					used = sizeOf(*v.Size)
				}
				if node == "" {
					node = "-"
				}
				rows = append(rows, []string{v.Name, string(v.App), v.Owner, node, used, writers, date(v.Backup), v.Work})
			}
			return c.table([]string{"VOLUME", "OF", "KIND", "NODE", "USED", "WRITERS", "LAST BACKUP", "WORK"}, rows)
		}))
}

func (c *command) backupVolume() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.StringFlag{Name: "to", Usage: "`PLACE` of micro service places, or a folder on the node (default the node's own)"}}
	return c.new("backup", "APP VOLUME", "write all that a volume has at one moment to a file, encrypted", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			e, err := c.followTask(u, client.BackupVolume(ctx, c.owner(u), u.Args().Get(1), api.NewBackup{To: u.String("to")}))
			if err != nil || e.Backup == nil {
				return err
			}
			return c.printBackup(u, *e.Backup)
		}))
}

func (c *command) listVolumeBackups() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, &urfave.StringFlag{Name: "in", Usage: "list what a `PLACE` has, or a folder of the node, also what micro does not know"}}
	return c.new("list-backups", "APP VOLUME", "list the backups of a volume, the oldest first", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			list, err := client.VolumeBackups(ctx, c.owner(u), u.Args().Get(1), u.String("in"))
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
				rows = append(rows, []string{string(b.ID), ago(b.Taken), size, took, placeOf(b), b.By})
			}
			return c.table([]string{"BACKUP", "AGE", "DATA", "TOOK", "IN", "BY"}, rows)
		}))
}

func (c *command) deleteVolumeBackup() *urfave.Command {
	return c.changed("delete-backup", "APP VOLUME BACKUP", "delete a backup of a volume", 3, 3, []urfave.Flag{groupFlag},
		func(ctx context.Context, u *urfave.Context, client *api.Client) (string, api.Changed, error) {
			id := cloud.BackupID(u.Args().Get(2))
			changed, err := client.DeleteVolumeBackup(ctx, c.owner(u), u.Args().Get(1), id)
			return fmt.Sprintf("backup %s is deleted", id), changed, err
		})
}

func (c *command) restoreVolume() *urfave.Command {
	flags := []urfave.Flag{
		groupFlag, jsonFlag, detach, yesFlag,
		&urfave.StringFlag{Name: "from", Usage: "`ID` of the backup (default the latest)"},
		&urfave.StringFlag{Name: "in", Usage: "`PLACE`, or folder of the node, that has the backup, also one that micro does not know"},
		&urfave.StringFlag{Name: "of", Usage: "the `APP` whose volume of this name was backed up (default the same)"},
	}
	return c.new("restore", "APP VOLUME", "replace all that a volume has by a backup; the app is stopped for a moment", 2, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref, name := c.owner(u), u.Args().Get(1)
			choice := api.BackupChoice{Backup: cloud.BackupID(u.String("from")), Of: cloud.AppName(u.String("of")), From: u.String("in")}
			if !u.Bool("yes") {
				if _, err := client.VolumeBackups(ctx, ref, name, ""); err != nil {
					return err
				}
				if yes, _ := c.confirm(fmt.Sprintf("Replace all that volume %s of %s has by a backup?", name, ref)); !yes {
					return cloud.Errorf(cloud.Invalid, "restoring volume %s of %s replaces all its data: confirm with --yes", name, ref).WithCommand("micro volume restore %s %s --yes", ref, name)
				}
			}
			e, err := c.followTask(u, client.RestoreVolume(ctx, ref, name, choice))
			if err != nil || e.Changed == nil {
				return err
			}
			if !u.Bool("json") {
				c.say("volume %s of %s is restored", name, ref)
			}
			return c.await(ctx, u, client, ref, *e.Changed)
		}))
}

func (c *command) moveVolume() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, detach, &urfave.StringFlag{Name: "to", Usage: "`NODE` that is to have them"}}
	return c.new("move", "APP [VOLUME]", "move an app with all its volumes to another node; it is stopped meanwhile", 1, 2, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			ref := c.owner(u)
			to, err := needed(u, "to", "NODE")
			if err != nil {
				return err
			}
			if name := u.Args().Get(1); name != "" {
				if err := c.onlyVolume(ctx, client, ref, name, cloud.NodeName(to)); err != nil {
					return err
				}
			}
			return c.move(ctx, u, client, ref, cloud.NodeName(to))
		}))
}

// onlyVolume reports that an app has other volumes than the one that is named: they are all on one node.
func (c *command) onlyVolume(ctx context.Context, client *api.Client, ref cloud.AppRef, name string, to cloud.NodeName) error {
	list, err := client.Volumes(ctx, ref)
	if err != nil {
		return err
	}
	has := false
	for _, v := range list {
		has = has || v.Name == name
	}
	switch {
	case !has:
		return cloud.Errorf(cloud.NotFound, "app %s has no volume %q", ref, name).WithCommand("micro volume list %s", ref)
	case len(list) > 1:
		return cloud.Errorf(cloud.Invalid, "app %s has %d volumes, which move together: an instance has all of them", ref, len(list)).WithCommand("micro volume move %s --to %s", ref, to)
	}
	return nil
}

func (c *command) move(ctx context.Context, u *urfave.Context, client *api.Client, ref cloud.AppRef, to cloud.NodeName) error {
	e, err := c.followTask(u, client.MoveVolumes(ctx, ref, api.VolumeMove{To: to}))
	if err != nil || e.Changed == nil {
		return err
	}
	if !u.Bool("json") {
		c.say("the volumes of %s are on node %s", ref, to)
	}
	return c.await(ctx, u, client, ref, *e.Changed)
}

func (c *command) moveService() *urfave.Command {
	flags := []urfave.Flag{groupFlag, jsonFlag, detach, &urfave.StringFlag{Name: "to", Usage: "`NODE` that is to have it"}}
	return c.new("move", "SERVICE", "move a service with its data to another node; it is stopped meanwhile", 1, 1, flags,
		c.with(func(ctx context.Context, u *urfave.Context, client *api.Client) error {
			to, err := needed(u, "to", "NODE")
			if err != nil {
				return err
			}
			return c.move(ctx, u, client, c.serviceRef(u), cloud.NodeName(to))
		}))
}
