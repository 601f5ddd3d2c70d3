package cloud

import "time"

// Authority is the cloud's own certificate authority, which vouches for the names of the private domain and for
// nothing else. There is one, and all nodes have it from the State.
type Authority struct {
	// Domain is the private domain that the certificate is constrained to.
	Domain      Domain    `json:"domain"`
	Certificate []byte    `json:"certificate"` // DER (X.509)
	PrivateKey  Sealed    `json:"private_key"` // PKCS #8
	Expires     time.Time `json:"expires"`
}

const authorityKey Key = "authorities/local"

// Key is "authorities/local": there is one such object.
func (a *Authority) Key() Key { return authorityKey }

func (a *Authority) touch(*touched)    {}
func (a *Authority) indexes() []string { return nil }

// authorityOverlap is how long before an authority expires another one takes its place: no certificate that it
// has issued lasts longer.
const authorityOverlap = 30 * 24 * time.Hour

// Authority returns the cloud's authority; false where it has none for its domain, or one that is about to expire.
func (s *State) Authority(now time.Time) (*Authority, bool) {
	a, ok := get[*Authority](s, authorityKey)
	return a, ok && a.Domain == s.Settings().Domain && now.Before(a.Expires.Add(-authorityOverlap))
}

// Authorize returns the change that makes a the cloud's authority, and none where the cloud has one already: of
// several nodes that make one at the same time, the first wins.
func (s *State) Authorize(a Authority, now time.Time) []Change {
	if _, ok := s.Authority(now); ok {
		return nil
	}
	return []Change{Put(&a)}
}
