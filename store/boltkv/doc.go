// Package boltkv keeps a store in one bbolt file: the engine of a single node.
//
// It owns DIR/store.db, DIR/lock and DIR/backup/. Its invariant: acknowledged changes are in the file, and
// readers see only acknowledged changes. bbolt alone does not promise the second part. Its two "heads" (meta
// pages) are mapped into memory, so a head whose fsync failed can still be read. Another transaction on top
// of such a head could destroy the file: it would reuse pages that the last durable head still needs. So a
// failed commit restores the old heads, reopens bbolt, and allows no write until the old heads are synced
// (write.go). Reads wait during a commit.
//
// bbolt trusts its file: a wrong page number in it ends the process. So the file is checked before bbolt
// opens it (check.go), and each record has a checksum, which bbolt's pages don't have.
//
// The changes for Watch are kept only in memory (history.go): a restart ends every watch of this process
// anyway, clients of the API read everything again after ErrCompacted, and a history on disk would double
// every write.
package boltkv
