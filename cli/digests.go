package cli

import (
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/protoduction/micro/cloud/source"
)

// digests remembers, in the user's cache folder, the digests of a folder's files, so that a push reads only
// the files that changed since the last one. As in git's index, a file is the same where its size, times and
// inode are, and what was changed just before it was read is read again, because the next change might not
// show in its times.
//
// It only saves time: where anything of it fails, and on systems other than Linux, all files are read.
type digests struct {
	path  string // "" where nothing can be remembered
	began time.Time
	known map[string]digested
}

// digested is a file that was read.
type digested struct {
	Stat source.Stat
	Sum  [sha256.Size]byte
}

// digestsFormat changes with what is in the file.
const digestsFormat = "micro digests 1"

// keepDigests is how long the digests of a folder that is not pushed any more are kept.
const keepDigests = 60 * 24 * time.Hour

// openDigests reads what is remembered of a folder.
func openDigests(dir string) *digests {
	d := &digests{began: time.Now(), known: map[string]digested{}}
	abs, err := filepath.Abs(dir)
	if err != nil || !hasOurClock(abs) {
		return d
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return d
	}
	cache, err := os.UserCacheDir()
	if err != nil || !isOurs(cache) {
		return d
	}
	sum := sha256.Sum256([]byte(abs))
	d.path = filepath.Join(cache, "micro", "digests", hex.EncodeToString(sum[:16]))
	f, err := os.Open(d.path)
	if err != nil {
		return d
	}
	defer f.Close()
	var format string
	dec := gob.NewDecoder(f)
	if dec.Decode(&format) != nil || format != digestsFormat || dec.Decode(&d.known) != nil {
		d.known = map[string]digested{} // written by another version, or not to its end
	}
	return d
}

// fill gives the files of a set that have not changed their digests.
func (d *digests) fill(set *source.Set) {
	if len(d.known) == 0 {
		return
	}
	for i := range set.Entries {
		e := &set.Entries[i]
		if st, ok := e.Stat(d.began); ok {
			if k, ok := d.known[e.Path]; ok && k.Stat == st {
				e.SHA256 = hex.EncodeToString(k.Sum[:])
			}
		}
	}
}

// save remembers the digests of a set.
func (d *digests) save(set *source.Set) {
	if d.path == "" {
		return
	}
	now := make(map[string]digested, len(set.Entries))
	same := true
	for i := range set.Entries {
		e := &set.Entries[i]
		st, ok := e.Stat(d.began)
		sum, err := hex.DecodeString(e.SHA256)
		if !ok || err != nil || len(sum) != sha256.Size {
			continue
		}
		k := digested{st, [sha256.Size]byte(sum)}
		now[e.Path] = k
		same = same && d.known[e.Path] == k
	}
	if same && len(now) == len(d.known) {
		// A folder that is pushed is no forgotten one.
		_ = os.Chtimes(d.path, d.began, d.began)
		return
	}
	_ = writeDigests(d.path, now) // the next push reads all files
	d.sweep()
}

func writeDigests(path string, known map[string]digested) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	enc := gob.NewEncoder(f)
	err = errors.Join(enc.Encode(digestsFormat), enc.Encode(known), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// sweep removes what was not used for long.
func (d *digests) sweep() {
	items, err := os.ReadDir(filepath.Dir(d.path))
	if err != nil {
		return
	}
	for _, item := range items {
		if info, err := item.Info(); err == nil && info.ModTime().Before(d.began.Add(-keepDigests)) {
			_ = os.Remove(filepath.Join(filepath.Dir(d.path), item.Name()))
		}
	}
}
