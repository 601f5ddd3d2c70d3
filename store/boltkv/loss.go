package boltkv

import "time"

// Loss describes damage of the store's file: one of its two heads was unreadable, and the store was opened with
// the other. If the unreadable head was the newer one, which nobody can know, the last acknowledged change is lost.
type Loss struct {
	At  time.Time `json:"at"`  // when the store was opened
	Rev int64     `json:"rev"` // the revision of the readable head
}

// Loss returns the last such damage, also if an earlier process found it. It is recorded in the store, because
// the next write repairs the file and removes all other traces.
func (db *DB) Loss() (Loss, bool) {
	if db.loss == nil {
		return Loss{}, false
	}
	return *db.loss, true
}
