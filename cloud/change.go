package cloud

// Key names an object of a State and is the key that it is stored under: "apps/default/shop". Keys sort
// as people expect, releases by number.
type Key string

// Change puts an object, or deletes what is at Key where Object is nil.
type Change struct {
	Key    Key
	Object Object
	// newer is the value as it is stored, where that has members which this version does not know; "" otherwise.
	newer string
}

// Put is the change that writes o.
func Put(o Object) Change { return Change{Key: o.Key(), Object: o} }

// Delete is the change that removes o.
func Delete(o Object) Change { return Change{Key: o.Key()} }
