package cloud

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// BackupID names a backup of a service or an app: the UTC time at which it was begun, such as 20261128T174538Z. IDs are in
// order of time.
type BackupID string

// Backup is a file with all data that a service, or a volume of an app, had at one time.
type Backup struct {
	AppRef
	ID BackupID `json:"id"`
	// Volume is the app's volume that was backed up, "" for a service.
	Volume string `json:"volume,omitempty"`
	// Kind and Version are those of the service.
	Kind    string `json:"kind,omitempty"`
	Version string `json:"version,omitempty"`
	// Place is where the file is: the name of a BackupPlace, the absolute path of a folder, or "" for the node's own folder.
	Place string `json:"place,omitempty"`
	// Node is the node whose folder has the file, "" if every node reaches it.
	Node NodeName `json:"node,omitempty"`
	// Taken is the time whose data the backup has, and Took how long the backup took from then on.
	Taken time.Time `json:"taken"`
	Took  Duration  `json:"took"`
	Data  int64     `json:"data"` // bytes that the service's tool wrote
	Size  int64     `json:"size"` // bytes of the file
	// Digest is the SHA-256 of the file without its last 256 bytes, which have the digest too.
	Digest string `json:"digest"`
	// For is the public key that the file is encrypted for.
	For string `json:"for"`
	By  string `json:"by"`
	// Scheduled backups are deleted as their schedule says.
	Scheduled bool `json:"scheduled,omitempty"`
	// Proven is when the backup was last restored into another service, whose data passed the kind's check.
	Proven *time.Time `json:"proven,omitempty"`
}

// Key is "backups/GROUP/APP/ID".
func (b *Backup) Key() Key { return backupKey(b.AppRef, b.ID) }

func backupKey(r AppRef, id BackupID) Key {
	return Key("backups/" + string(r.Group) + "/" + string(r.App) + "/" + string(id))
}

// FileName is the name of the backup's file in its place: names have no dots.
func (b *Backup) FileName() string { return BackupPrefix(b.AppRef) + string(b.ID) + backupSuffix }

// BackupPrefix begins the file names of an app's backups.
func BackupPrefix(r AppRef) string { return string(r.Group) + "." + string(r.App) + "." }

const backupSuffix = ".backup"

// ParseBackupName returns the app and the ID of a backup whose file has a name.
func ParseBackupName(name string) (r AppRef, id BackupID, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 || "."+parts[3] != backupSuffix {
		return r, "", false
	}
	return AppRef{GroupName(parts[0]), AppName(parts[1])}, BackupID(parts[2]), true
}

func (b *Backup) touch(*touched)    {}
func (b *Backup) indexes() []string { return nil }

// Backups yields the backups of a service or an app, the oldest first.
func (s *State) Backups(r AppRef) iter.Seq[*Backup] {
	return all[*Backup](s, "backups/"+string(r.Group)+"/"+string(r.App)+"/")
}

// AllBackups yields the backups of a group, or of all groups for "".
func (s *State) AllBackups(g GroupName) iter.Seq[*Backup] {
	if g == "" {
		return all[*Backup](s, "backups/")
	}
	return all[*Backup](s, "backups/"+string(g)+"/")
}

// BackupsOf returns the backups of a volume of an app, the oldest first, or of a service for volume "".
func (s *State) BackupsOf(r AppRef, volume string) []*Backup {
	return slices.DeleteFunc(slices.Collect(s.Backups(r)), func(b *Backup) bool { return b.Volume != volume })
}

// MustVolumeBackup returns a backup of a volume: the newest one for ID "latest".
func (s *State) MustVolumeBackup(r AppRef, volume string, id BackupID) (*Backup, error) {
	of := s.BackupsOf(r, volume)
	if id == "latest" && len(of) > 0 {
		return of[len(of)-1], nil
	}
	for _, b := range of {
		if b.ID == id {
			return b, nil
		}
	}
	if len(of) == 0 {
		return nil, Errorf(NotFound, "volume %s of %s has no backup", volume, r).WithCommand("micro volume backup %s %s", r, volume)
	}
	return nil, Errorf(NotFound, "volume %s of %s has no backup %q", volume, r, string(id)).WithCommand("micro volume list-backups %s %s", r, volume)
}

// MustBackup returns a backup: the newest one of a service for ID "latest".
func (s *State) MustBackup(r AppRef, id BackupID) (*Backup, error) {
	if id == "latest" {
		of := s.BackupsOf(r, "")
		if len(of) == 0 {
			return nil, Errorf(NotFound, "%s has no backup", r).WithCommand("micro service backup %s", r)
		}
		return of[len(of)-1], nil
	}
	b, ok := get[*Backup](s, backupKey(r, id))
	if !ok {
		return nil, Errorf(NotFound, "%s has no backup %q", r, string(id)).WithCommand("micro service list-backups %s", r)
	}
	return b, nil
}

// NewBackupID returns an ID for a backup that is begun now.
func (s *State) NewBackupID(r AppRef, now time.Time) BackupID {
	base := now.UTC().Format("20060102T150405Z")
	id := BackupID(base)
	for n := 2; ; n++ {
		if _, taken := get[*Backup](s, backupKey(r, id)); !taken {
			return id
		}
		id = BackupID(fmt.Sprintf("%s-%d", base, n))
	}
}

// Outdated returns the scheduled backups of a service beyond the newest keep.
func (s *State) Outdated(r AppRef, keep int) []*Backup {
	scheduled := slices.DeleteFunc(slices.Collect(s.Backups(r)), func(b *Backup) bool { return !b.Scheduled })
	return scheduled[:max(0, len(scheduled)-keep)]
}
