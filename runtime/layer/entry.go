package layer

import (
	"archive/tar"
	"slices"

	"github.com/protoduction/micro/cloud"
	"github.com/protoduction/micro/runtime/network"
)

// nobody owns what belongs to an ID that no container has: the files of an archive that was packed where
// accounts come from a directory service, say.
const nobody = 65534

// pseudo are device nodes that every container has of its own, by major and minor number
// (admin-guide/devices.txt of the kernel): null, zero, full, random, urandom, tty, console and ptmx. Base
// images that were made with debootstrap bring them along.
var pseudo = [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}}

// admit changes an entry into what is written, or leaves it out. A device node that leads to hardware is an
// error of code Invalid.
func admit(h *tar.Header) (write bool, err error) {
	h.Uid, h.Gid = KnownID(h.Uid), KnownID(h.Gid)
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock:
		number := [2]int64{h.Devmajor, h.Devminor}
		switch {
		case h.Typeflag == tar.TypeChar && number == [2]int64{0, 0}:
			return true, nil // overlayfs' mark of a file that is deleted
		case h.Typeflag == tar.TypeChar && slices.Contains(pseudo, number):
			return false, nil
		}
		kind := map[byte]string{tar.TypeChar: "character", tar.TypeBlock: "block"}[h.Typeflag]
		return false, cloud.Errorf(cloud.Invalid, "%q is a device node (%s %d:%d), which no image may have", h.Name, kind, h.Devmajor, h.Devminor).
			WithHint("remove the node from the image")
	}
	return true, nil
}

// KnownID returns an ID that a container has: id itself, or nobody in place of one that none has.
func KnownID(id int) int {
	if id < 0 || id >= network.Range {
		return nobody
	}
	return id
}
