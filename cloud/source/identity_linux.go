package source

import (
	"io/fs"
	"syscall"
)

func identityOf(info fs.FileInfo) identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{inode: st.Ino, device: st.Dev, modified: st.Mtim.Nano(), changed: st.Ctim.Nano()}
}
