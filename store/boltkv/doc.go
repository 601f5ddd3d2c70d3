// Package boltkv keeps a store in one bbolt file: the engine of a single node.
//
// It owns DIR/store.db, DIR/lock and DIR/backup/. Its invariant: what was acknowledged is in the file,
// and what a reader sees was acknowledged. bbolt alone does not promise the second half. Its two "heads"
// (meta pages) are mapped into memory, so that a head whose fsync failed is read as if it were there.
// Built upon, it costs the file: the next transaction would reuse pages that the last durable head still
// needs. Hence a commit that fails puts the old heads back, opens bbolt anew, and lets nothing be
// written until the old heads have been synced (write.go); reads wait while a commit is under way.
//
// bbolt trusts its file, and a wrong page number in it ends the process. So the file is checked before
// bbolt sees it (check.go), and each record has a checksum, which bbolt's pages do not.
//
// The changes for Watch are kept in memory alone (history.go): a restart ends every watch of this
// process anyway, those who watch through the API read all anew after ErrCompacted, and on disk a
// history would double every write.
package boltkv
