package router

import "testing"

func TestOwnedConnections(t *testing.T) {
	endpoints := make([]*Endpoint, 6)
	for i := range endpoints {
		endpoints[i] = new(Endpoint)
	}
	var o owned
	first := &wire{owner: endpoints[0]}
	o.keep(first)
	o.keep(first)
	if o.wireTo(endpoints[0]) != first || o.wireTo(endpoints[1]) != nil {
		t.Error("what was kept is not found, or what was not")
	}
	// A later one to the same endpoint takes its place, those to others their own.
	second := &wire{owner: endpoints[0]}
	o.keep(second)
	if o.wireTo(endpoints[0]) != second {
		t.Error("an endpoint has two")
	}
	for _, e := range endpoints[1:] {
		o.keep(&wire{owner: e})
	}
	if n := len(o.list); o.wireTo(endpoints[5]) == nil || o.wireTo(endpoints[0]) != nil {
		t.Errorf("of six endpoints the latest %d must be kept", n)
	}
	o.clear()
	for _, e := range endpoints {
		if o.wireTo(e) != nil {
			t.Error("one is left")
		}
	}
}
