package cloud

import (
	"fmt"
	"iter"
	"net/netip"
	"syscall"
	"time"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Slot is a place that an instance fills: the second web instance of shop@r7 has index 1.
type Slot struct {
	ReleaseRef
	Process ProcessName `json:"process"`
	Index   int         `json:"index"` // from 0
}

// String is "shop/web.1@r7".
func (s Slot) String() string { return fmt.Sprintf("%s/%s.%d@r%d", s.AppRef, s.Process, s.Index, s.N) }

// key sorts slots by app, release, process and index.
func (s Slot) key() string {
	return fmt.Sprintf("%s/%s/%08d/%s/%06d/", s.Group, s.App, s.N, s.Process, s.Index)
}

// DrainLimit is how long requests in flight to an instance may take to end when it is to end.
const DrainLimit = 30 * time.Second

// InstancePhase is where an instance stands.
type InstancePhase string

// The phases of an instance. Only Ready ones are routed to.
const (
	InstanceStarting InstancePhase = "starting" // made, or not well yet
	InstanceReady    InstancePhase = "ready"
	InstanceUnready  InstancePhase = "unready"  // runs, and its readiness check fails
	InstanceDraining InstancePhase = "draining" // gets no new request; ends when those in flight have
	InstanceStopping InstancePhase = "stopping" // has been sent SIGTERM
	InstanceExited   InstancePhase = "exited"   // ended by itself or failed to start
)

// InstancePhases returns every phase.
func InstancePhases() []InstancePhase {
	return []InstancePhase{InstanceStarting, InstanceReady, InstanceUnready, InstanceDraining, InstanceStopping, InstanceExited}
}

// Live says whether the instance still fills its slot: it runs and nobody has decided to end it.
func (p InstancePhase) Live() bool {
	switch p {
	case InstanceStarting, InstanceReady, InstanceUnready:
		return true
	case InstanceDraining, InstanceStopping, InstanceExited:
		return false
	}
	return false
}

// Instance is what was observed of one container of a release.
type Instance struct {
	ID InstanceID `json:"id"`
	Slot
	Generation int `json:"generation"`
	// Of is when its release was made: an app that was deleted and made anew has the same numbers again.
	// Zero where that is not known.
	Of      time.Time      `json:"of"`
	Token   Revision       `json:"token,omitempty"` // of the place that it runs by
	Node    NodeName       `json:"node"`
	Phase   InstancePhase  `json:"phase"`
	Since   time.Time      `json:"since"`            // when the phase began
	Addr    netip.AddrPort `json:"addr"`             // where it is reached; port 0 where nothing is routed to it
	PID     uint32         `json:"pid,omitempty"`    // on its node
	Started time.Time      `json:"started"`          // when its container did
	Reason  string         `json:"reason,omitempty"` // why it is not ready, for a person
	// Shortage says that Reason is one of the machine, which lacks something: it says nothing about the app.
	Shortage bool  `json:"shortage,omitempty"`
	Exit     *Exit `json:"exit,omitempty"` // how it ended
}

// Exit is how an instance ended.
type Exit struct {
	Code int       `json:"code"` // as a shell reports it: 128+N for signal N
	OOM  bool      `json:"oom,omitempty"`
	At   time.Time `json:"at"`
}

// Flapping is how many crashes in a row a slot may have before it counts as flapping. Up to then a new
// instance starts at once.
const Flapping = 3

// Describe says in words how an instance ended; reason is what is known beyond its exit.
func (e Exit) Describe(reason string) string {
	switch {
	case e.OOM:
		return "ran out of memory: it has been killed at its limit"
	case reason != "":
		return reason
	case e.Code < 0 || e.Code > 255:
		return "ended in an unknown way"
	case e.Code > 128 && e.Code <= 128+64:
		return fmt.Sprintf("was ended by signal %d (%v)", e.Code-128, syscall.Signal(e.Code-128))
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// Crashes is what is known of a slot whose instances ended by themselves.
type Crashes struct {
	Slot
	Node       NodeName `json:"node,omitempty"` // on which the last one ended
	Generation int      `json:"generation"`     // of the instance that crashed last; a newer one starts afresh
	Count      int      `json:"count"`          // in a row
	Total      int      `json:"total"`          // ever
	Last       Exit     `json:"last"`
	Reason     string   `json:"reason,omitempty"`
	// Fatal says that another try right away would end the same: a start that ran out of time, a missing image.
	Fatal   bool      `json:"fatal,omitempty"`
	NextTry time.Time `json:"next_try"`
}

// Instances is what was observed of a cloud's instances, at a sequence number. It never changes.
type Instances struct {
	seq       uint64
	byKey     *iradix.Tree[*Instance] // slot key + ID
	byID      *iradix.Tree[*Instance]
	crashes   *iradix.Tree[*Crashes] // slot key
	left      *iradix.Tree[*Left]    // slot key + node
	nodes     *iradix.Tree[*NodeStatus]
	changeLog changeLog[AppRef]
}

// NewInstances has seen nothing.
func NewInstances() *Instances {
	return &Instances{
		byKey: iradix.New[*Instance](), byID: iradix.New[*Instance](), crashes: iradix.New[*Crashes](),
		left: iradix.New[*Left](), nodes: iradix.New[*NodeStatus](),
	}
}

// With returns the instances with i in the place of what was known of its ID.
func (o *Instances) With(i *Instance) *Instances {
	n := o.next(i.AppRef)
	n.byKey, _, _ = o.byKey.Insert([]byte(i.key()+string(i.ID)), i)
	n.byID, _, _ = o.byID.Insert([]byte(i.ID), i)
	return n
}

// Without returns the instances without the one of the ID.
func (o *Instances) Without(id InstanceID) *Instances {
	i, ok := o.Get(id)
	if !ok {
		return o
	}
	n := o.next(i.AppRef)
	n.byKey, _, _ = o.byKey.Delete([]byte(i.key() + string(i.ID)))
	n.byID, _, _ = o.byID.Delete([]byte(id))
	return n
}

// WithCrashes returns the instances with c in the place of what was known of its slot.
func (o *Instances) WithCrashes(c *Crashes) *Instances {
	n := o.next(c.AppRef)
	n.crashes, _, _ = o.crashes.Insert([]byte(c.key()), c)
	return n
}

// WithoutCrashes forgets the crashes of a slot.
func (o *Instances) WithoutCrashes(s Slot) *Instances {
	n := o.next(s.AppRef)
	n.crashes, _, _ = o.crashes.Delete([]byte(s.key()))
	return n
}

func (o *Instances) next(apps ...AppRef) *Instances {
	n := *o
	n.seq++
	n.changeLog = o.changeLog.add(o.seq, n.seq, apps)
	return &n
}

// Since returns the apps whose instances changed between old and o, some perhaps more than once; ok is
// false where that is not known any more.
func (o *Instances) Since(old *Instances) (apps []AppRef, ok bool) {
	if old == nil {
		return nil, false
	}
	return o.changeLog.since(old.seq, o.seq)
}

// Get returns the instance of the ID.
func (o *Instances) Get(id InstanceID) (*Instance, bool) { return o.byID.Get([]byte(id)) }

// Len is the number of instances.
func (o *Instances) Len() int { return o.byID.Len() }

// Crashes returns what is known of a slot's crashes.
func (o *Instances) Crashes(s Slot) (*Crashes, bool) { return o.crashes.Get([]byte(s.key())) }

// AllCrashes yields all that is known of crashes, by slot.
func (o *Instances) AllCrashes() iter.Seq[*Crashes] { return prefixed(o.crashes, "") }

// CrashesOf yields what is known of the crashes of an app, by slot.
func (o *Instances) CrashesOf(r AppRef) iter.Seq[*Crashes] {
	return prefixed(o.crashes, string(r.Group)+"/"+string(r.App)+"/")
}

// All yields every instance, by slot and ID.
func (o *Instances) All() iter.Seq[*Instance] { return prefixed(o.byKey, "") }

// OfApp yields the instances of an app, by release, process, index and ID.
func (o *Instances) OfApp(r AppRef) iter.Seq[*Instance] {
	return prefixed(o.byKey, string(r.Group)+"/"+string(r.App)+"/")
}

// OfRelease yields the instances of a release, by process, index and ID.
func (o *Instances) OfRelease(r ReleaseRef) iter.Seq[*Instance] {
	return prefixed(o.byKey, fmt.Sprintf("%s/%s/%08d/", r.Group, r.App, r.N))
}

// OfSlot yields the instances of a slot, by ID.
func (o *Instances) OfSlot(s Slot) iter.Seq[*Instance] { return prefixed(o.byKey, s.key()) }

func prefixed[T any](t *iradix.Tree[T], prefix string) iter.Seq[T] {
	return func(yield func(T) bool) {
		it := t.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if !yield(v) {
				return
			}
		}
	}
}

// View is a State and the Instances observed at the same time: all that a table, a zone or a plan is
// made from.
type View struct {
	State     *State
	Instances *Instances
}

// NewView is the view of an empty cloud.
func NewView() View { return View{NewState(), NewInstances()} }

// Pool returns the ready instances of a release's web process, by index and ID: those that a request
// may go to.
func (v View) Pool(r ReleaseRef) []*Instance {
	var pool []*Instance
	for i := range v.Instances.OfRelease(r) {
		if i.Process == Web && i.Phase == InstanceReady && i.Addr.Port() != 0 {
			pool = append(pool, i)
		}
	}
	return pool
}

// Serving returns the releases that the app's own address routes to now: the current one, and the one
// being rolled out as far as its strategy lets it join early. Only the former where nothing else is ready.
func (v View) Serving(app *App) []ReleaseRef {
	var refs []ReleaseRef
	if app.Current != 0 {
		refs = append(refs, app.Release(app.Current))
	}
	if r := app.Rollout; r != nil && r.To != app.Current && r.Released && r.Strategy.Kind == Rolling && app.Current != 0 {
		refs = append(refs, app.Release(r.To))
	}
	return refs
}
