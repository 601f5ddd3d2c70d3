// Package janitor frees disk space on a node: it removes images of releases that can no longer be rolled back to,
// and logs and volumes of deleted apps.
//
// It compares the disk with the state each time, so that interrupted work is done the next time. It decides nothing
// about releases: the leader deletes them from the state.
package janitor
