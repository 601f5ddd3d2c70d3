package cloud

import (
	"path"
	"slices"
	"strings"
)

// Volume is a folder that outlives instances and releases.
type Volume struct {
	Name string `json:"name"` // a DNS label
	Path string `json:"path"` // inside, absolute and clean
}

// Volumes are the names of all volumes that the app's releases have, sorted.
func (s *State) Volumes(app AppRef) (names []string) {
	for rel := range s.Releases(app) {
		for _, v := range rel.Spec.Volumes {
			names = append(names, v.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Validate reports what keeps the volume from being mounted: its name, which becomes a folder's on the
// node, or a path that hides what the kernel or the whole image has there.
func (v Volume) Validate() error {
	if err := checkLabel("volume", v.Name); err != nil {
		return err
	}
	if !path.IsAbs(v.Path) || path.Clean(v.Path) != v.Path || v.Path == "/" || strings.ContainsRune(v.Path, 0) {
		return Errorf(Invalid, "volume %s: path %q is no folder below /", v.Name, v.Path).WithHint("write it like /data")
	}
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		if v.Path == kernel || strings.HasPrefix(v.Path, kernel+"/") {
			return Errorf(Invalid, "volume %s: path %q hides the kernel's own %s", v.Name, v.Path, kernel)
		}
	}
	return nil
}
