package boltkv

import "time"

// Loss is what is known of damage that a store was opened with in spite of it: one of the two heads of its file was
// unreadable. Nothing says whether that one was the newer. If it was, the last change before is lost, although it
// had been acknowledged.
type Loss struct {
	At  time.Time `json:"at"`  // when the store was opened
	Rev int64     `json:"rev"` // the revision that is left
}

// Loss returns the last damage of that kind, also where an earlier process has found it: the next write repairs the
// file, so that nothing else tells of it any more.
func (db *DB) Loss() (Loss, bool) {
	if db.loss == nil {
		return Loss{}, false
	}
	return *db.loss, true
}
