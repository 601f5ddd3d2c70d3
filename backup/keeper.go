package backup

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Nodes reach the folders of other nodes.
type Nodes interface {
	// Open opens the file of a backup that another node has.
	Open(ctx context.Context, b *cloud.Backup) (io.ReadCloser, error)
	// Remove removes the file of a backup that another node has.
	Remove(ctx context.Context, b *cloud.Backup) error
}

// Keeper writes backups to their places, and reads them.
type Keeper struct {
	Node  cloud.NodeName // this node
	Dir   string         // the node's own folder
	Keys  func() Keys
	State func() *cloud.State
	Nodes Nodes
	Now   func() time.Time
}

// own is the node's own folder.
func (k *Keeper) own() Folder { return Folder{Dir: k.Dir, Make: true} }

// place returns a place by the name of a BackupPlace, the path of a folder, or "" for the node's own; everywhere reports
// that all nodes reach it.
func (k *Keeper) place(name string) (p Place, everywhere bool, err error) {
	switch {
	case name == "":
		return k.own(), false, nil
	case strings.HasPrefix(name, "/"):
		return Folder{Dir: path.Clean(name)}, false, nil
	}
	place, err := k.State().MustBackupPlace(name)
	if err != nil {
		return nil, false, err
	}
	if place.Folder != "" {
		return Folder{Dir: place.Folder}, false, nil
	}
	bucket, err := NewBucket(place)
	return bucket, true, err
}

// CheckPlace reports why a place cannot be used. A folder may be missing on this node.
func (k *Keeper) CheckPlace(ctx context.Context, p *cloud.BackupPlace) error {
	if p.Folder != "" {
		return nil
	}
	bucket, err := NewBucket(p)
	if err != nil {
		return err
	}
	return bucket.Check(ctx)
}

// Write writes the backup that b describes, with what fill writes, and completes b.
func (k *Keeper) Write(ctx context.Context, b *cloud.Backup, fill func(io.Writer) error) error {
	place, everywhere, err := k.place(b.Place)
	if err != nil {
		return err
	}
	h := Header{Group: b.Group, App: b.App, ID: b.ID, Volume: b.Volume, Kind: b.Kind, Version: b.Version, Taken: b.Taken, Node: k.Node, By: b.By}
	if !everywhere {
		b.Node = k.Node
	}
	keys := k.Keys()
	b.For = keys.Public()
	return place.Put(ctx, b.FileName(), func(out io.Writer) error {
		w, err := NewWriter(out, keys, h, k.Now)
		if err != nil {
			return err
		}
		if err := errors.Join(fill(w), ctx.Err()); err != nil {
			return err
		}
		if w.size == 0 {
			return cloud.Errorf(cloud.Unavailable, "the command that makes the backup wrote nothing")
		}
		if err := w.Close(); err != nil {
			return err
		}
		w.fill(b)
		return nil
	})
}

// Read calls use with the data of a backup. If use has not got all of it at the end of a whole backup, that is an error
// too.
func (k *Keeper) Read(ctx context.Context, b *cloud.Backup, use func(io.Reader) error) error {
	file, err := k.open(ctx, b)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := NewReader(file, k.Keys(), string(b.ID))
	if err != nil {
		return err
	}
	if r.Group != b.Group || r.App != b.App || r.ID != b.ID {
		return cloud.Errorf(cloud.Invalid, "the file of backup %s is that of backup %s of %s", b.ID, r.ID, cloud.AppRef{Group: r.Group, App: r.App})
	}
	if err := use(r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return nil
}

// here reports whether this node's folders have a backup. The only node of a cloud may have another name than before.
func (k *Keeper) here(b *cloud.Backup) bool {
	if b.Node == "" || b.Node == k.Node {
		return true
	}
	_, known := k.State().Node(b.Node)
	return !known
}

// open opens the file of a backup, wherever it is.
func (k *Keeper) open(ctx context.Context, b *cloud.Backup) (io.ReadCloser, error) {
	if !k.here(b) {
		return k.Nodes.Open(ctx, b)
	}
	return k.OpenHere(ctx, b)
}

// OpenHere opens the file of a backup that this node reaches.
func (k *Keeper) OpenHere(ctx context.Context, b *cloud.Backup) (io.ReadCloser, error) {
	place, _, err := k.place(b.Place)
	if err != nil {
		return nil, err
	}
	return place.Get(ctx, b.FileName())
}

// Remove removes the file of a backup, wherever it is.
func (k *Keeper) Remove(ctx context.Context, b *cloud.Backup) error {
	if !k.here(b) {
		return k.Nodes.Remove(ctx, b)
	}
	return k.RemoveHere(ctx, b)
}

// RemoveHere removes the file of a backup that this node reaches.
func (k *Keeper) RemoveHere(ctx context.Context, b *cloud.Backup) error {
	place, _, err := k.place(b.Place)
	if err != nil {
		return err
	}
	return place.Remove(ctx, b.FileName())
}

// Find returns the backups of an app that a place has, the oldest first, also those that the state does not know.
func (k *Keeper) Find(ctx context.Context, placeName string, r cloud.AppRef) (found []*cloud.Backup, err error) {
	place, everywhere, err := k.place(placeName)
	if err != nil {
		return nil, err
	}
	names, err := place.List(ctx, cloud.BackupPrefix(r))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		_, id, _ := cloud.ParseBackupName(name)
		if known, err := k.State().MustBackup(r, id); err == nil && known.Place == placeName {
			found = append(found, known)
			continue
		}
		b := &cloud.Backup{AppRef: r, ID: id, Place: placeName}
		if !everywhere {
			b.Node = k.Node
		}
		if err := k.describe(ctx, place, b); err != nil {
			return nil, err
		}
		found = append(found, b)
	}
	return found, nil
}

// describe fills in what the header of a file says of its backup. The file may still be damaged.
func (k *Keeper) describe(ctx context.Context, place Place, b *cloud.Backup) error {
	file, err := place.Get(ctx, b.FileName())
	if err != nil {
		return err
	}
	defer file.Close()
	h, err := ReadHeader(file, b.FileName())
	if err != nil {
		return err
	}
	b.Volume, b.Kind, b.Version, b.Taken, b.By, b.For = h.Volume, h.Kind, h.Version, h.Taken, h.By, h.For
	return nil
}

// Clear removes what a killed process has left in the node's own folder.
func (k *Keeper) Clear() error { return k.own().Clear() }
