package cloud

import "iter"

// ServiceKind is what an operator says of a kind of service: a whole kind that micro does not have, or which images the
// versions of a kind run from.
type ServiceKind struct {
	Name string `json:"name"`
	// Text is the kind's file, "" for one that micro has itself.
	Text string `json:"text,omitempty"`
	// Images are references of images by version. They win over those of the file.
	Images map[string]string `json:"images,omitempty"`
}

// Key is "kinds/NAME".
func (k *ServiceKind) Key() Key { return Key("kinds/" + k.Name) }

func (k *ServiceKind) touch(*touched)    {}
func (k *ServiceKind) indexes() []string { return nil }

// ServiceKind returns what an operator says of a kind.
func (s *State) ServiceKind(name string) (*ServiceKind, bool) {
	return get[*ServiceKind](s, Key("kinds/"+name))
}

// ServiceKinds yields all that operators say of kinds, by name.
func (s *State) ServiceKinds() iter.Seq[*ServiceKind] { return all[*ServiceKind](s, "kinds/") }
