package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// attributeKey begins the records of extended attributes, as other programs name them.
const attributeKey = "SCHILY.xattr."

// kept reports whether an attribute is one that apps can set.
func kept(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") || name == "security.capability"
}

// Names of records have no "=".
var (
	escape   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescape = strings.NewReplacer("%25", "%", "%3D", "=")
)

// readAttributes adds a file's extended attributes to its entry.
func readAttributes(file *os.File, h *tar.Header) error {
	fd := int(file.Fd())
	list, err := whole(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("attributes of %s: %w", h.Name, err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if !kept(name) {
			continue
		}
		value, err := whole(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return fmt.Errorf("attribute %s of %s: %w", name, h.Name, err)
		}
		h.PAXRecords[attributeKey+escape.Replace(name)] = string(value)
	}
	return nil
}

// whole returns what read has, whose size it says when it gets no room.
func whole(read func([]byte) (int, error)) ([]byte, error) {
	for {
		size, err := read(nil)
		if err != nil || size == 0 {
			return nil, err
		}
		b := make([]byte, size)
		n, err := read(b)
		if !errors.Is(err, unix.ERANGE) {
			return b[:max(n, 0)], err
		}
	}
}

// writeAttributes sets a file's extended attributes.
func writeAttributes(file *os.File, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, attributeKey)
		if name = unescape.Replace(name); !ok || !kept(name) {
			continue
		}
		if err := unix.Fsetxattr(int(file.Fd()), name, []byte(value), 0); err != nil {
			return fmt.Errorf("attribute %s of %s: %w", name, h.Name, err)
		}
	}
	return nil
}
