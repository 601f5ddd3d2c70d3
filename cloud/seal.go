package cloud

// The places for which secrets of the State are sealed.
const (
	RoutingSecretPlace    = "settings/cloud routing_secret"
	LocalAuthorityPlace   = "authorities/local key"
	ClusterAuthorityPlace = "clusters/cloud key"
	ProviderSecretPlace   = "providers/oidc client_secret"
)

// Reseal returns the changes that replace every sealed secret of the State by what again returns for it.
func (s *State) Reseal(again func(place string, old Sealed) (Sealed, error)) (changes []Change, err error) {
	var errs []error
	replace := func(place string, value *Sealed) bool {
		if *value == "" {
			return false
		}
		next, err := again(place, *value)
		errs = append(errs, err)
		*value = next
		return true
	}
	if settings := s.Settings(); replace(RoutingSecretPlace, &settings.RoutingSecret) {
		changes = append(changes, Put(&settings))
	}
	if a, ok := get[*Authority](s, authorityKey); ok {
		if next := *a; replace(LocalAuthorityPlace, &next.PrivateKey) {
			changes = append(changes, Put(&next))
		}
	}
	if c, ok := s.Cluster(); ok {
		if next := *c; replace(ClusterAuthorityPlace, &next.PrivateKey) {
			changes = append(changes, Put(&next))
		}
	}
	if p, ok := s.Provider(); ok {
		if next := *p; replace(ProviderSecretPlace, &next.Secret) {
			changes = append(changes, Put(&next))
		}
	}
	if err := Join(errs...); err != nil {
		return nil, err
	}
	return changes, nil
}
