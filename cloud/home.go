package cloud

import "iter"

// Home is the node that has an app's volumes. Instances of releases with volumes run there and nowhere
// else, also after a stop: that is where their data is.
type Home struct {
	AppRef
	Node NodeName `json:"node"`
}

// Key is "homes/GROUP/APP".
func (h *Home) Key() Key { return homeKey(h.AppRef) }

func (h *Home) touch(t *touched)  { t.placed[h.AppRef] = true }
func (h *Home) indexes() []string { return nil }

func homeKey(r AppRef) Key { return Key("homes/" + string(r.Group) + "/" + string(r.App)) }

// Home returns the node that has an app's volumes.
func (s *State) Home(r AppRef) (*Home, bool) { return get[*Home](s, homeKey(r)) }

// Homes yields the homes of all apps, by app.
func (s *State) Homes() iter.Seq[*Home] { return all[*Home](s, "homes/") }
