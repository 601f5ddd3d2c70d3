package cloud

import (
	"encoding/json"
)

// Key names an object of a State and is the key that it is stored under: "apps/default/shop". Keys sort
// as people expect, releases by number.
type Key string

// Object is one of *Group, *App, *Release and *VirtualHost.
type Object interface {
	// Key is where the object is kept.
	Key() Key
}

// Key is "groups/NAME".
func (g *Group) Key() Key { return groupKey(g.Name) }

// Key is "apps/GROUP/APP".
func (a *App) Key() Key { return appKey(a.AppRef) }

// Key is "releases/GROUP/APP/N", N with eight digits.
func (r *Release) Key() Key { return releaseKey(r.ReleaseRef) }

// Key is "sites/HOST".
func (s *VirtualHost) Key() Key { return virtualHostKey(s.Host) }

// Change puts an object, or deletes what is at Key where Object is nil.
type Change struct {
	Key    Key
	Object Object
}

// Put is the change that writes o.
func Put(o Object) Change { return Change{o.Key(), o} }

// Delete is the change that removes o.
func Delete(o Object) Change { return Change{Key: o.Key()} }

// Encode is the change's value as it is stored, nil for a deletion.
func (c Change) Encode() ([]byte, error) {
	if c.Object == nil {
		return nil, nil
	}
	return json.Marshal(c.Object)
}

// DecodeChange reads what Encode wrote for the key; an empty value is a deletion.
func DecodeChange(key Key, value []byte) (Change, error) {
	c := Change{Key: key}
	if len(value) == 0 {
		return c, nil
	}
	switch kind, _ := key.split(); kind {
	case "groups":
		c.Object = new(Group)
	case "apps":
		c.Object = new(App)
	case "releases":
		c.Object = new(Release)
	case "sites":
		c.Object = new(VirtualHost)
	default:
		return c, Errorf(Internal, "the store has %q, which this version of micro does not know", key)
	}
	if err := json.Unmarshal(value, c.Object); err != nil {
		return c, Errorf(Internal, "the store's %q cannot be read: %w", key, err)
	}
	if c.Object.Key() != key {
		return c, Errorf(Internal, "the store's %q holds the object %q", key, c.Object.Key())
	}
	return c, nil
}
