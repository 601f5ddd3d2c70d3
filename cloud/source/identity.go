package source

import "time"

// identity is what the file system says of a file beyond its name, size and time of change.
type identity struct {
	inode, device uint64
	// In ns. An entry's ModTime may be git's. No program can set the ctime.
	modified, changed int64
}

// racy is how long a file must be unchanged before it is read, so that a later change is sure to show in its
// times: the coarsest that Linux file systems keep are 2 s (FAT).
const racy = 2 * time.Second

// Stat is a file as it was when it was hashed. Where a file is still so, its digest is.
type Stat struct {
	Size              int64
	Modified, Changed int64 // ns
	Inode, Device     uint64
}

// Stat returns what the file system says of a file. It is not ok where a change after now could go unseen,
// and of anything but a file that Open has found.
func (e *Entry) Stat(now time.Time) (_ Stat, ok bool) {
	if !e.Mode.IsRegular() || e.id == (identity{}) {
		return Stat{}, false
	}
	st := Stat{Size: e.Size, Modified: e.id.modified, Changed: e.id.changed, Inode: e.id.inode, Device: e.id.device}
	return st, max(st.Modified, st.Changed) < now.Add(-racy).UnixNano()
}
