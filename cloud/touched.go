package cloud

import "maps"

// touched gathers what may differ between two views.
type touched struct {
	apps  map[AppRef]bool
	hosts map[Host]bool
	// named are the apps of changed routes. The other routes to them are as they were.
	named map[AppRef]bool
	// placed are the apps whose assignments changed. What requests find is the same: they go by instances.
	placed map[AppRef]bool
	nodes  map[NodeName]bool
	all    bool // anything may differ
}

// Touched returns the apps and the mapped hosts that may differ between two views. ok is false where
// everything must be looked at: the changes since old are forgotten, or one of them touches all.
func (v View) Touched(old View) (apps map[AppRef]bool, hosts map[Host]bool, ok bool) {
	t, ok := v.touched(old)
	if !ok {
		return nil, nil, false
	}
	for app := range t.apps {
		for vhost := range v.State.HostsOf(app) {
			t.hosts[vhost.Host] = true
		}
	}
	maps.Copy(t.apps, t.named)
	return t.apps, t.hosts, true
}

// TouchedApps returns the apps of which anything may differ between two views, also where their instances
// are to run. ok is false where every app must be looked at.
func (v View) TouchedApps(old View) (apps map[AppRef]bool, ok bool) {
	t, ok := v.touched(old)
	if !ok {
		return nil, false
	}
	maps.Copy(t.apps, t.named)
	maps.Copy(t.apps, t.placed)
	return t.apps, true
}

// TouchedNodes returns the nodes that changed between two views, or that live or died. ok is false where
// every node must be looked at.
func (v View) TouchedNodes(old View) (nodes map[NodeName]bool, ok bool) {
	t, ok := v.touched(old)
	if !ok {
		return nil, false
	}
	if v.Instances.nodes != old.Instances.nodes {
		for _, o := range []*Instances{old.Instances, v.Instances} {
			for status := range o.NodeStatuses() {
				was, _ := old.Instances.NodeStatus(status.Name)
				if is, _ := v.Instances.NodeStatus(status.Name); is != was {
					t.nodes[status.Name] = true
				}
			}
		}
	}
	return t.nodes, true
}

func (v View) touched(old View) (*touched, bool) {
	if old.State == nil || old.Instances == nil {
		return nil, false
	}
	keys, ok := v.State.Since(old.State)
	if !ok {
		return nil, false
	}
	seen, ok := v.Instances.Since(old.Instances)
	if !ok {
		return nil, false
	}
	t := &touched{
		apps: map[AppRef]bool{}, hosts: map[Host]bool{}, named: map[AppRef]bool{},
		placed: map[AppRef]bool{}, nodes: map[NodeName]bool{},
	}
	for _, k := range keys {
		for _, s := range []*State{old.State, v.State} {
			if o, ok := s.objects.Get([]byte(k)); ok {
				o.touch(t)
			}
		}
		if t.all {
			return nil, false
		}
	}
	for _, app := range seen {
		t.apps[app] = true
	}
	return t, true
}
