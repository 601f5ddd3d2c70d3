package cloud

import iradix "github.com/hashicorp/go-immutable-radix/v2"

// Use is what the places of a node use of it.
type Use struct {
	Capacity
	Places int
}

// Used returns what all places of a node use.
func (s *State) Used(n NodeName) Use {
	u, _ := s.used.Get([]byte(n))
	return u
}

// Add counts a place so many times.
func (u *Use) Add(p Place, times int) {
	u.Memory += int64(times) * p.Memory
	u.CPU += int64(times) * p.CPU
	u.Places += times
}

// count adds the places of an assignment to what their nodes use, or takes them off: times is 1 or -1.
func count(used *iradix.Txn[Use], o Object, times int) {
	a, ok := o.(*Assignment)
	if !ok {
		return
	}
	for _, p := range a.Places {
		u, _ := used.Get([]byte(p.Node))
		if u.Add(p, times); u.Places == 0 {
			used.Delete([]byte(p.Node))
		} else {
			used.Insert([]byte(p.Node), u)
		}
	}
}
