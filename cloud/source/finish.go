package source

import (
	"os"
	"path"
	"slices"
	"time"
)

// wholeSeconds is what a layer's archive has of a time.
func wholeSeconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Truncate(time.Second)
}

// finishTree checks where links lead, now that all is there, and gives folders their bits and times, the
// inner ones first. It notes the times in entries, which are in the order of a walk.
func finishTree(root *os.Root, entries []Entry) error {
	newest := map[string]time.Time{} // file, by the folders that it is in
	for _, e := range entries {
		if e.Mode.IsDir() {
			continue
		}
		for dir := path.Dir(e.Path); dir != "." && e.ModTime.After(newest[dir]); dir = path.Dir(dir) {
			newest[dir] = e.ModTime
		}
		if e.Link == "" {
			continue
		}
		if err := checkLink(root, e.Path, e.Link); err != nil {
			return err
		}
	}
	for i := range slices.Backward(entries) {
		e := &entries[i]
		if !e.Mode.IsDir() {
			continue
		}
		if err := root.Chmod(e.Path, e.Mode.Perm()); err != nil {
			return unpackError(e.Path, err)
		}
		if t := newest[e.Path]; !t.IsZero() {
			e.ModTime = t
		}
		if !e.ModTime.IsZero() {
			if err := root.Chtimes(e.Path, e.ModTime, e.ModTime); err != nil {
				return unpackError(e.Path, err)
			}
		}
	}
	return nil
}
