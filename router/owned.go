package router

// owned has the upstream connections that have carried bodies of one client connection, which only that client may reuse (see
// reuse). It keeps the latest connections of a few endpoints, because a client's requests are spread over instances.
type owned struct {
	list [4]*wire
	next int // whose place is taken next
}

// wireTo returns the connection to an endpoint, or nil.
func (o *owned) wireTo(e *Endpoint) *wire {
	for _, w := range o.list {
		if w != nil && w.owner == e {
			return w
		}
	}
	return nil
}

// keep adds a connection; the one whose place it takes ends.
func (o *owned) keep(w *wire) {
	place := o.next
	for i, old := range o.list {
		if old == w {
			return
		}
		if old != nil && old.owner == w.owner {
			place = i
		}
	}
	if place == o.next {
		o.next = (o.next + 1) % len(o.list)
	}
	o.end(place)
	o.list[place] = w
}

// clear ends all of them.
func (o *owned) clear() {
	for i := range o.list {
		o.end(i)
	}
}

func (o *owned) end(i int) {
	if w := o.list[i]; w != nil {
		w.owner.evict(w)
		o.list[i] = nil
	}
}
