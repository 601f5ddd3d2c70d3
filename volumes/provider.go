package volumes

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/task"
)

// Store is the durable truth.
type Store interface {
	State() *cloud.State
	Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
}

// Views are the latest state and instances.
type Views interface {
	View() cloud.View
	Changed(ctx context.Context, old cloud.View) (cloud.View, error)
}

// Archives keep the files of backups.
type Archives interface {
	// Write writes the backup that b describes, with what fill writes, and completes b.
	Write(ctx context.Context, b *cloud.Backup, fill func(io.Writer) error) error
	// Read calls use with the data of a backup. It returns nil only if the backup is whole.
	Read(ctx context.Context, b *cloud.Backup, use func(io.Reader) error) error
	Remove(ctx context.Context, b *cloud.Backup) error
	// Find returns the backups of an app that a place has.
	Find(ctx context.Context, place string, r cloud.AppRef) ([]*cloud.Backup, error)
}

// Nodes reach the volumes of all nodes.
type Nodes interface {
	// Write writes an archive of a volume that a node has, as it is at one moment.
	Write(ctx context.Context, node cloud.NodeName, app cloud.AppRef, volume string, w io.Writer) error
	// Receive makes a volume of an archive, on a node, as a result of a work that the state has since rev.
	Receive(ctx context.Context, node cloud.NodeName, rev cloud.Revision, w *cloud.VolumeWork, volume string, r io.Reader) error
	// Exchange puts what a node has received for a work in the place of what the app has there.
	Exchange(ctx context.Context, node cloud.NodeName, rev cloud.Revision, w *cloud.VolumeWork) error
	// Retire deletes the volumes that an app has had on a node before a work.
	Retire(ctx context.Context, node cloud.NodeName, w *cloud.VolumeWork) error
	// Used returns how many bytes an app's volumes on a node take.
	Used(ctx context.Context, node cloud.NodeName, app cloud.AppRef, names []string) (map[string]int64, error)
}

// Provider backs volumes up, restores and moves them.
type Provider struct {
	Store    Store
	Views    Views
	Archives Archives
	Nodes    Nodes
	Folders  Folders // of this node
	Node     cloud.NodeName
	Process  string // of this node's process: another one after each start
	Log      *slog.Logger
	Now      func() time.Time

	mu    sync.Mutex
	doing map[string]bool // the works of this process
}

// alive reports that a node is away.
func (p *Provider) alive(name cloud.NodeName) error {
	status, ok := p.Views.View().Instances.NodeStatus(name)
	if ok && !status.Alive {
		return cloud.Errorf(cloud.Unavailable, "node %s is down", name).WithCommand("micro node list")
	}
	return nil
}

// Used returns how many bytes the volumes of an app take, by name: nothing if its node is down.
func (p *Provider) Used(ctx context.Context, ref cloud.AppRef) (map[string]int64, error) {
	names, home, err := p.Store.State().MustVolumes(ref, "")
	if err != nil || p.alive(home) != nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, usedTimeout)
	defer cancel()
	return p.Nodes.Used(ctx, home, ref, names)
}

// usedTimeout is how long the files of an app's volumes may take to be counted.
const usedTimeout = 5 * time.Second

// mayKeep reports that the volumes of a service are not backed up: accounts in them would not be those of its bindings.
func mayKeep(s *cloud.State, ref cloud.AppRef) error {
	if app, ok := s.App(ref); ok && app.Service != nil {
		return cloud.Errorf(cloud.Invalid, "%s is a service, which is backed up by its own tool", ref).WithCommand("micro service backup %s", ref)
	}
	return nil
}

// Backup writes all that a volume has at one moment to a new backup in a place.
func (p *Provider) Backup(ctx context.Context, by cloud.Actor, ref cloud.AppRef, volume, place string, tell task.Tell) (*cloud.Backup, error) {
	state := p.Store.State()
	if err := mayKeep(state, ref); err != nil {
		return nil, err
	}
	_, home, err := state.MustVolumes(ref, volume)
	if err != nil {
		return nil, err
	}
	if err := p.alive(home); err != nil {
		return nil, err
	}
	if place, err = state.CheckPlace(place); err != nil {
		return nil, err
	}
	b := &cloud.Backup{AppRef: ref, ID: state.NewBackupID(ref, p.Now()), Volume: volume, Place: place, Taken: p.Now(), By: by.Name}
	step := task.Begin(tell, p.Now, "backup", "back up volume "+volume+" of "+ref.String(), 0)
	err = p.Archives.Write(ctx, b, func(w io.Writer) error { return p.Nodes.Write(ctx, home, ref, volume, step.Write(w)) })
	if err == nil {
		err = p.recordBackup(ctx, by, b)
	}
	if err = step.Done(err); err != nil {
		return nil, cloud.Errorf(cloud.CodeOf(err), "no backup of volume %s of %s was made: %w", volume, ref, err)
	}
	return b, nil
}

// recordBackup writes that there is a backup. If that fails, its file goes again.
func (p *Provider) recordBackup(ctx context.Context, by cloud.Actor, b *cloud.Backup) error {
	_, err := p.Store.Update(ctx, by, "backup-volume", b.AppRef.String()+" "+b.Volume+" "+string(b.ID), func(s *cloud.State) ([]cloud.Change, error) {
		if _, err := s.MustBackup(b.AppRef, b.ID); err == nil {
			return nil, cloud.Errorf(cloud.Conflict, "another backup of %s was begun at the same time", b.AppRef)
		}
		return []cloud.Change{cloud.Put(b)}, nil
	})
	if err != nil && cloud.CodeOf(err) != cloud.Conflict { // of a conflict the file is the other's
		err = errors.Join(err, p.Archives.Remove(context.WithoutCancel(ctx), b))
	}
	return err
}

// RemoveBackup removes a backup's file, and then its record.
func (p *Provider) RemoveBackup(ctx context.Context, by cloud.Actor, ref cloud.AppRef, volume string, id cloud.BackupID) error {
	b, err := p.Store.State().MustVolumeBackup(ref, volume, id)
	if err != nil {
		return err
	}
	if err := p.Archives.Remove(ctx, b); err != nil {
		return err
	}
	_, err = p.Store.Update(ctx, by, "delete-volume-backup", ref.String()+" "+volume+" "+string(b.ID), func(*cloud.State) ([]cloud.Change, error) {
		return []cloud.Change{cloud.Delete(b)}, nil
	})
	return err
}

// Backups returns the backups of a volume that the state knows, or for a place those that are found there.
func (p *Provider) Backups(ctx context.Context, ref cloud.AppRef, volume string, place *string) ([]*cloud.Backup, error) {
	if place == nil {
		return p.Store.State().BackupsOf(ref, volume), nil
	}
	name, err := p.Store.State().CheckPlace(*place)
	if err != nil {
		return nil, err
	}
	all, err := p.Archives.Find(ctx, name, ref)
	return slices.DeleteFunc(all, func(b *cloud.Backup) bool { return b.Volume != volume }), err
}

// FindBackup returns a backup by its ID, or the newest one for "latest": one that the state knows, or for a place one that is
// found there.
func (p *Provider) FindBackup(ctx context.Context, ref cloud.AppRef, volume string, id cloud.BackupID, place *string) (*cloud.Backup, error) {
	if place == nil {
		return p.Store.State().MustVolumeBackup(ref, volume, id)
	}
	all, err := p.Backups(ctx, ref, volume, place)
	if err != nil {
		return nil, err
	}
	for i, b := range all {
		if b.ID == id || id == "latest" && i == len(all)-1 {
			return b, nil
		}
	}
	return nil, cloud.Errorf(cloud.NotFound, "%s has no backup %q of volume %s of %s", *place, string(id), volume, ref).WithCommand("micro volume list-backups %s %s --in %s", ref, volume, *place)
}
