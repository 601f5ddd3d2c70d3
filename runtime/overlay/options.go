package overlay

import (
	"strings"

	"golang.org/x/sys/unix"
)

// options are those of a mount.Mount, sorted by who reads them.
type options struct {
	flags          uintptr  // of mount(2)
	data           []string // overlayfs' own, but for lowerdir
	uidmap, gidmap string   // this package's, see Mount
}

// flags are the options that a snapshotter, a container or a build step has that are flags to mount(2).
var flags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "rw": 0,
}

func parse(all []string) (o options) {
	for _, one := range all {
		key, value, _ := strings.Cut(one, "=")
		flag, isFlag := flags[one]
		switch {
		case isFlag:
			o.flags |= flag
		case key == "uidmap":
			o.uidmap = value
		case key == "gidmap":
			o.gidmap = value
		case key != "lowerdir":
			o.data = append(o.data, one)
		}
	}
	return o
}
