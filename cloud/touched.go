package cloud

import "maps"

// touched gathers what may differ between two views.
type touched struct {
	apps  map[AppRef]bool
	hosts map[Host]bool
	// named are the apps of changed routes. The other routes to them are as they were.
	named map[AppRef]bool
	all   bool // anything may differ
}

// Touched returns the apps and the mapped hosts that may differ between two views. ok is false where
// everything must be looked at: the changes since old are forgotten, or one of them touches all.
func (v View) Touched(old View) (apps map[AppRef]bool, hosts map[Host]bool, ok bool) {
	if old.State == nil || old.Instances == nil {
		return nil, nil, false
	}
	keys, ok := v.State.Since(old.State)
	if !ok {
		return nil, nil, false
	}
	seen, ok := v.Instances.Since(old.Instances)
	if !ok {
		return nil, nil, false
	}
	t := &touched{apps: map[AppRef]bool{}, hosts: map[Host]bool{}, named: map[AppRef]bool{}}
	for _, k := range keys {
		for _, s := range []*State{old.State, v.State} {
			if o, ok := s.objects.Get([]byte(k)); ok {
				o.touch(t)
			}
		}
		if t.all {
			return nil, nil, false
		}
	}
	for _, app := range seen {
		t.apps[app] = true
	}
	for app := range t.apps {
		for vhost := range v.State.HostsOf(app) {
			t.hosts[vhost.Host] = true
		}
	}
	maps.Copy(t.apps, t.named)
	return t.apps, t.hosts, true
}
