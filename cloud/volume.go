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
	// Shared says that instances of a release may write to it at the same time. Others have one writer: two
	// servers on the files of one database destroy it, each in a PID namespace in which it sees no other.
	Shared bool `json:"shared,omitempty"`
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

// SharesVolume reports whether instances of the app's newest release with a volume may write to it at the same time.
func (s *State) SharesVolume(app AppRef, name string) (shared bool) {
	for rel := range s.Releases(app) {
		for _, v := range rel.Spec.Volumes {
			if v.Name == name {
				shared = v.Shared
			}
		}
	}
	return shared
}

// exclusive returns a volume that one instance at a time may write to.
func (s Spec) exclusive() (Volume, bool) {
	i := slices.IndexFunc(s.Volumes, func(v Volume) bool { return !v.Shared })
	if i < 0 {
		return Volume{}, false
	}
	return s.Volumes[i], true
}

// crowded reports a formation in which several instances of a process would write to a volume of one writer.
func (s Spec) crowded(f Formation) error {
	v, ok := s.exclusive()
	if !ok {
		return nil
	}
	for _, name := range sortedKeys(f) {
		if n := f[name].Instances; n > 1 {
			return Errorf(Invalid, "process %s: %d instances would write to volume %q at once", name, n, v.Name).
				WithHint("micro push with shared: true of that volume in the manifest, where the app can do that")
		}
	}
	return nil
}

// Validate reports what keeps the volume from being mounted: its name, which becomes a folder's on the
// node, or a path that hides what the kernel or the whole image has there.
func (v Volume) Validate() error {
	if err := checkLabel("volume", v.Name); err != nil {
		return err
	}
	if !path.IsAbs(v.Path) || path.Clean(v.Path) != v.Path || v.Path == "/" || strings.ContainsRune(v.Path, 0) {
		return Errorf(Invalid, "volume %s: path %q is not a folder below /", v.Name, v.Path).WithHint("write it like /data")
	}
	for _, kernel := range []string{"/proc", "/sys", "/dev"} {
		if v.Path == kernel || strings.HasPrefix(v.Path, kernel+"/") {
			return Errorf(Invalid, "volume %s: path %q hides the kernel's own %s", v.Name, v.Path, kernel)
		}
	}
	return nil
}
