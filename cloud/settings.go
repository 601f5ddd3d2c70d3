package cloud

import "net/netip"

// Settings are what holds for a cloud as a whole. They are an object of the State, so that all nodes and
// all pure functions of it agree.
type Settings struct {
	// Domain is the private domain, in which every app has an address.
	Domain Domain `json:"domain"`
	// RoutingSecret decides which clients of a sticky route are led where, and signs passes to releases. It
	// must outlive restarts, and be the same on all nodes.
	RoutingSecret Sealed `json:"routing_secret,omitempty"`
	// Subnet has the slices of all nodes; the zero Prefix for the default, which State.Subnet returns.
	Subnet netip.Prefix `json:"subnet,omitzero"`
	// Limits hold for all routes that don't set their own.
	Limits Limits `json:"limits,omitzero"`
}

// Sealed is a secret that only a node can open, with a key which it keeps outside its data. It may be
// stored, logged and copied.
type Sealed string

const settingsKey Key = "settings/cloud"

// Key is "settings/cloud": there is one such object.
func (c *Settings) Key() Key { return settingsKey }

func (c *Settings) touch(t *touched)  { t.all = true }
func (c *Settings) indexes() []string { return nil }

// Settings returns the cloud's settings, none where it was never set up.
func (s *State) Settings() Settings {
	if c, ok := get[*Settings](s, settingsKey); ok {
		return *c
	}
	return Settings{}
}

// Configure returns the changes that set what is not empty of c, and leave the rest.
func (s *State) Configure(c Settings) ([]Change, error) {
	was := s.Settings()
	next := was
	if c.Domain != "" {
		if err := c.Domain.Validate(); err != nil {
			return nil, err
		}
		next.Domain = c.Domain
	}
	if c.RoutingSecret != "" {
		next.RoutingSecret = c.RoutingSecret
	}
	if c.Subnet.IsValid() {
		if err := s.checkSubnet(c.Subnet); err != nil {
			return nil, err
		}
		next.Subnet = c.Subnet
	}
	if next == was {
		return nil, nil
	}
	return []Change{Put(&next)}, nil
}
