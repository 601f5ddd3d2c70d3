package overlay

import (
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
)

// MaxLayers is how many lower layers the kernel stacks (OVL_MAX_STACK in fs/overlayfs). A container has one more
// layer, the one that it writes to.
const MaxLayers = 500

// Type is what containerd calls such a mount.
const Type = "overlay"

// Layers returns the layers that a mount of type overlay reads from, the top one first, without the one that it
// writes to. It returns nil for a mount of another type.
func Layers(m mount.Mount) []string {
	if m.Type != Type {
		return nil
	}
	if value, ok := option(m, "lowerdir"); ok {
		return strings.Split(value, ":")
	}
	return nil
}

// Upper returns the layer that a mount of type overlay writes to, "" where it only reads.
func Upper(m mount.Mount) string {
	if m.Type != Type {
		return ""
	}
	value, _ := option(m, "upperdir")
	return value
}

func option(m mount.Mount, name string) (value string, ok bool) {
	for _, o := range m.Options {
		if value, ok := strings.CutPrefix(o, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// spare is how much of a page must be left over for containerd's mounting to be trusted with a mount: it adds
// options of its own, and the kernel cuts off silently what does not fit.
const spare = 1024 // bytes

// Fits reports whether containerd's package mount can mount m. It names layers from the folder that they have
// in common, "123/fs".
func Fits(m mount.Mount) bool {
	if m.Type != Type {
		return true
	}
	size := 0
	for _, o := range m.Options {
		if !strings.HasPrefix(o, "lowerdir=") {
			size += len(o) + 1
		}
	}
	for _, l := range Layers(m) {
		parts := strings.Split(l, "/")
		size += len(strings.Join(parts[max(0, len(parts)-2):], "/")) + 1
	}
	return size <= os.Getpagesize()-spare
}
