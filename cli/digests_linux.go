package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// isOurs reports whether the folder, or the first one above it that is there, belongs to this user: under
// sudo it may be another's, who could not write there afterwards.
func isOurs(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err == nil {
			st, ok := info.Sys().(*syscall.Stat_t)
			return ok && int(st.Uid) == os.Geteuid()
		}
		up := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || up == dir {
			return false
		}
		dir = up
	}
}

// hasOurClock reports whether a folder's times are by this machine's clock. Where they are another
// machine's, it cannot be told whether a file was changed just before it was read.
func hasOurClock(dir string) bool {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case 0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997, 0x5346414f, 0x00c36400:
		return false // NFS, SMB, CIFS, SMB2, FUSE, 9P, AFS, Ceph: statfs(2)
	}
	return true
}
