//go:build !windows

package hostdns

import (
	"io/fs"
	"syscall"
)

// ownerOf returns a file's owner and group, or -1 if they are not known.
func ownerOf(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}
