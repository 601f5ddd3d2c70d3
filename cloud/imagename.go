package cloud

import "iter"

// ImageName is the name of an image in the cloud, for FROM lines, pushes and services. Every node keeps the images that have
// names.
type ImageName struct {
	// Name is in full, such as "docker.io/library/base:latest".
	Name string `json:"name"`
	// Digest is the image's. It is "" after the name was removed, so that a node that was away then removes it as well.
	Digest string `json:"digest,omitempty"`
}

// Key is "imagenames/NAME".
func (n *ImageName) Key() Key { return imageNameKey(n.Name) }

func imageNameKey(name string) Key { return Key("imagenames/" + name) }

func (n *ImageName) touch(*touched)    {}
func (n *ImageName) indexes() []string { return nil }

// ImageName returns a name that an image has in the cloud, or had.
func (s *State) ImageName(name string) (*ImageName, bool) {
	return get[*ImageName](s, imageNameKey(name))
}

// ImageNames yields the names that images have in the cloud, or had, by name.
func (s *State) ImageNames() iter.Seq[*ImageName] { return all[*ImageName](s, "imagenames/") }

// NameImage returns the change that gives an image a name, which may be another one's before.
func (s *State) NameImage(name, digest string) []Change {
	if was, ok := s.ImageName(name); ok && was.Digest == digest {
		return nil
	}
	return []Change{Put(&ImageName{Name: name, Digest: digest})}
}

// RemoveImageName returns the change that removes a name.
func (s *State) RemoveImageName(name string) ([]Change, error) {
	if was, ok := s.ImageName(name); !ok || was.Digest == "" {
		return nil, Errorf(NotFound, "no image has the name %s", name).WithHint("micro image list")
	}
	return []Change{Put(&ImageName{Name: name})}, nil
}

// AdoptImageNames returns the changes that record names which a node gave before names were the cloud's. A name that the
// cloud has, or had, stays as it is there.
func (s *State) AdoptImageNames(digests map[string]string) (changes []Change) {
	for name, digest := range digests {
		if _, ok := s.ImageName(name); !ok {
			changes = append(changes, Put(&ImageName{Name: name, Digest: digest}))
		}
	}
	return changes
}
