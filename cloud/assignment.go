package cloud

import (
	"fmt"
	"iter"
	"slices"
	"time"
)

// Assignment says on which nodes the instances of a release run. The leader writes it, in the same
// transaction as what it follows from where that is known; each node compares its own places with what
// runs there.
//
// A release that is to run and has no assignment has not been decided about: nodes leave its instances as
// they are.
type Assignment struct {
	ReleaseRef
	// Of is when the release was made: an app that was deleted and made anew has the same numbers again.
	Of     time.Time `json:"of"`
	Places []Place   `json:"places,omitempty"` // by process, index and token
	// Reason is why a slot of the release has no place, for a person; "" where each that is to have one does.
	Reason string `json:"reason,omitempty"`
}

// Place is the right of one instance of a slot to run on one node. While an instance is replaced its slot
// has two places.
type Place struct {
	Process    ProcessName `json:"process"`
	Index      int         `json:"index"`
	Node       NodeName    `json:"node"`
	Generation int         `json:"generation"`
	// Token tells this place from every earlier one of the slot, and is higher than theirs. Instances carry
	// it: one that does not have its place's token any more has no right to run (a fencing token).
	Token Revision `json:"token"`
	// Memory and CPU are what the instance is allowed to use, and what its node has less for others.
	Memory int64 `json:"memory,omitempty"` // bytes
	CPU    int64 `json:"cpu,omitempty"`    // thousandths of a core
	// Alone lets the instance start only when all that has lost its place has ended: on this node the node
	// waits for that, on others whoever gives places has waited.
	Alone bool `json:"alone,omitempty"`
	// Leaving says that the place is taken back. It stays until its node has said that nothing runs by it,
	// and keeps its slot from other nodes until then.
	Leaving bool `json:"leaving,omitempty"`
}

// Slot is the slot of a place of the assignment.
func (a *Assignment) Slot(p Place) Slot {
	return Slot{ReleaseRef: a.ReleaseRef, Process: p.Process, Index: p.Index}
}

// Holds says whether an instance runs by the place p of the assignment.
func (a *Assignment) Holds(p Place, i *Instance) bool {
	return !p.Leaving && i.N == a.N && i.Process == p.Process && i.Index == p.Index && i.Node == p.Node &&
		i.Generation == p.Generation && i.Token == p.Token && (i.Of.IsZero() || i.Of.Equal(a.Of))
}

// allOn returns a copy with all places on one node; ok is false where they are there already.
func (a *Assignment) allOn(n NodeName) (moved *Assignment, ok bool) {
	if !slices.ContainsFunc(a.Places, func(p Place) bool { return p.Node != n }) {
		return a, false
	}
	c := *a
	c.Places = slices.Clone(a.Places)
	for k := range c.Places {
		c.Places[k].Node = n
	}
	return &c, true
}

// Key is "assignments/GROUP/APP/N", N with eight digits.
func (a *Assignment) Key() Key { return assignmentKey(a.ReleaseRef) }

func (a *Assignment) touch(t *touched) { t.placed[a.AppRef] = true }

func (a *Assignment) indexes() (prefixes []string) {
	for _, p := range a.Places {
		if prefix := nodeIndex(p.Node); !slices.Contains(prefixes, prefix) {
			prefixes = append(prefixes, prefix)
		}
	}
	if a.Reason != "" {
		prefixes = append(prefixes, waitingIndex)
	}
	return prefixes
}

// nodeIndex finds the assignments that have places on a node.
func nodeIndex(n NodeName) string { return "node/" + string(n) + "/" }

// waitingIndex finds the assignments that lack a place.
const waitingIndex = "waiting/"

// MovesInstances reports whether a change gives or takes places.
func (c Change) MovesInstances() bool { return c.Key.Kind() == "assignments" }

func assignmentKey(r ReleaseRef) Key {
	return Key(fmt.Sprintf("assignments/%s/%s/%08d", r.Group, r.App, r.N))
}

// Assignment returns a release's.
func (s *State) Assignment(r ReleaseRef) (*Assignment, bool) {
	return get[*Assignment](s, assignmentKey(r))
}

// Assignments yields those of an app, by release.
func (s *State) Assignments(r AppRef) iter.Seq[*Assignment] {
	return all[*Assignment](s, "assignments/"+string(r.Group)+"/"+string(r.App)+"/")
}

// AllAssignments yields every assignment of the cloud, by app and release.
func (s *State) AllAssignments() iter.Seq[*Assignment] { return all[*Assignment](s, "assignments/") }

// AssignmentsOn yields the assignments that have places on a node.
func (s *State) AssignmentsOn(n NodeName) iter.Seq[*Assignment] {
	return under[*Assignment](s.index, nodeIndex(n))
}

// WaitingAssignments yields the assignments that lack a place.
func (s *State) WaitingAssignments() iter.Seq[*Assignment] {
	return under[*Assignment](s.index, waitingIndex)
}
