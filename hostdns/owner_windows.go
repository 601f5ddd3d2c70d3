package hostdns

import "io/fs"

// ownerOf knows nobody: owners have no numbers here.
func ownerOf(fs.FileInfo) (uid, gid int) { return -1, -1 }
