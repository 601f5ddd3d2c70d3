package boltkv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/protoduction/micro/cloud"
)

// keptBackups is how many of the newest backups without a label are kept.
const keptBackups = 5

// Backup copies the store at its current revision to a file in DIR/backup and returns the file's name. If a
// backup of that revision exists, Backup returns it. A backup with a label ("schema-1") is never deleted.
//
// The copy has no epoch, so a store that is restored from it starts a new one, however the file is restored.
func (db *DB) Backup(label string) (string, error) {
	dir := filepath.Join(db.dir, "backup")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	var path string
	err := db.view(func(tx *bbolt.Tx) error {
		suffix := fmt.Sprintf("-%s-tx%d", db.epoch, tx.ID())
		if label != "" {
			suffix += "-" + label
		}
		suffix += ".db"
		for _, old := range db.backups() {
			if strings.HasSuffix(old, suffix) {
				path = old
				return nil
			}
		}
		path = filepath.Join(dir, time.Now().UTC().Format("20060102T150405Z")+suffix)
		if err := tx.CopyFile(path+".new", 0o600); err != nil {
			return errors.Join(err, os.Remove(path+".new"))
		}
		return nil
	})
	if _, statErr := os.Stat(path); err != nil || statErr == nil {
		return path, err
	}
	if err := errors.Join(dropEpoch(path+".new"), publish(path+".new", path)); err != nil {
		return "", err
	}
	return path, db.prune()
}

func dropEpoch(path string) error {
	b, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	err = b.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Delete([]byte(metaEpoch)) })
	return errors.Join(err, b.Sync(), b.Close())
}

// backups lists the backups, oldest first.
func (db *DB) backups() []string {
	paths, _ := filepath.Glob(filepath.Join(db.dir, "backup", "*.db"))
	slices.Sort(paths)
	return paths
}

func (db *DB) prune() error {
	paths := slices.DeleteFunc(db.backups(), func(p string) bool {
		return strings.Count(filepath.Base(p), "-") > 2 // has a label
	})
	var errs []error
	for _, path := range paths[:max(0, len(paths)-keptBackups)] {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// corrupt returns the error for a damaged file. Its hint names the newest intact backup.
func (db *DB) corrupt(err error) error {
	if e := (*cloud.Error)(nil); errors.As(err, &e) && e.Code != cloud.Internal {
		return err
	}
	e := cloud.Errorf(cloud.Internal, "the store %s is damaged: %w", db.path, err)
	paths := db.backups()
	for _, path := range slices.Backward(paths) {
		if isIntact(path) {
			return e.WithHint("stop micro, then restore the newest backup: cp %s %s", path, db.path)
		}
	}
	return e.WithHint("there is no intact backup in %s; restore one from another place", filepath.Join(db.dir, "backup"))
}

func isIntact(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	_, err = check(f, info.Size())
	return err == nil
}
