package cloud

import (
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Revision counts the changes of what is desired, from 1; 0 is a cloud in which nothing was ever written.
type Revision uint64

// State is what is desired of a cloud, at a revision. It never changes; Apply makes the next one, which
// shares all that stayed the same.
type State struct {
	rev     Revision
	objects *iradix.Tree[Object] // by key
	// index finds objects by their indexes: such a prefix, followed by the key.
	index *iradix.Tree[Object]
	used  *iradix.Tree[Use] // by node
	// newer has the stored values of the objects that have members which this version does not know, by key.
	newer     *iradix.Tree[string]
	changeLog changeLog[Key]
}

// NewState is the empty state of revision 0.
func NewState() *State {
	return &State{objects: iradix.New[Object](), index: iradix.New[Object](), used: iradix.New[Use](), newer: iradix.New[string]()}
}

// Rev is the state's revision.
func (s *State) Rev() Revision { return s.rev }

// Apply returns the state of revision rev, which has the changes applied in order.
func (s *State) Apply(rev Revision, changes []Change) *State {
	objects, index, used, newer := s.objects.Txn(), s.index.Txn(), s.used.Txn(), s.newer.Txn()
	keys := make([]Key, 0, len(changes))
	for _, c := range changes {
		keys = append(keys, c.Key)
		if c.newer != "" {
			newer.Insert([]byte(c.Key), c.newer)
		} else if s.newer.Len() > 0 {
			newer.Delete([]byte(c.Key))
		}
		if old, ok := objects.Get([]byte(c.Key)); ok {
			for _, prefix := range old.indexes() {
				index.Delete([]byte(prefix + string(c.Key)))
			}
			count(used, old, -1)
		}
		if c.Object == nil {
			objects.Delete([]byte(c.Key))
			continue
		}
		objects.Insert([]byte(c.Key), c.Object)
		for _, prefix := range c.Object.indexes() {
			index.Insert([]byte(prefix+string(c.Key)), c.Object)
		}
		count(used, c.Object, 1)
	}
	return &State{
		rev: rev, objects: objects.Commit(), index: index.Commit(), used: used.Commit(), newer: newer.Commit(),
		changeLog: s.changeLog.add(uint64(s.rev), uint64(rev), keys),
	}
}

// Since returns the keys of all that changed between old and s, some perhaps more than once; ok is false
// where that is not known any more and everything must be looked at.
func (s *State) Since(old *State) (keys []Key, ok bool) {
	if old == nil {
		return nil, false
	}
	return s.changeLog.since(uint64(old.rev), uint64(s.rev))
}

func get[T Object](s *State, k Key) (T, bool) {
	o, ok := s.objects.Get([]byte(k))
	if !ok {
		var none T
		return none, false
	}
	t, ok := o.(T)
	return t, ok
}

// all yields the objects whose keys have a prefix, by key.
func all[T Object](s *State, prefix string) iter.Seq[T] { return under[T](s.objects, prefix) }

func under[T Object](tree *iradix.Tree[Object], prefix string) iter.Seq[T] {
	return func(yield func(T) bool) {
		it := tree.Root().Iterator()
		it.SeekPrefix([]byte(prefix))
		for _, o, ok := it.Next(); ok; _, o, ok = it.Next() {
			if t, is := o.(T); is && !yield(t) {
				return
			}
		}
	}
}

// Objects yields every object by its key, in the keys' order.
func (s *State) Objects() iter.Seq2[Key, Object] {
	return func(yield func(Key, Object) bool) {
		it := s.objects.Root().Iterator()
		for k, o, ok := it.Next(); ok; k, o, ok = it.Next() {
			if !yield(Key(k), o) {
				return
			}
		}
	}
}

// Group returns the group of the name.
func (s *State) Group(n GroupName) (*Group, bool) { return get[*Group](s, groupKey(n)) }

// Groups yields all groups by name.
func (s *State) Groups() iter.Seq[*Group] { return all[*Group](s, "groups/") }

// App returns an app.
func (s *State) App(r AppRef) (*App, bool) { return get[*App](s, appKey(r)) }

// Apps yields the apps of a group, or of all groups for "", by group and name.
func (s *State) Apps(g GroupName) iter.Seq[*App] {
	if g == "" {
		return all[*App](s, "apps/")
	}
	return all[*App](s, "apps/"+string(g)+"/")
}

// Release returns a release by number; N 0 is the current one.
func (s *State) Release(r ReleaseRef) (*Release, bool) {
	if r.N == 0 {
		app, ok := s.App(r.AppRef)
		if !ok || app.Current == 0 {
			return nil, false
		}
		r.N = app.Current
	}
	return get[*Release](s, releaseKey(r))
}

// Releases yields the releases of an app by number.
func (s *State) Releases(r AppRef) iter.Seq[*Release] {
	return all[*Release](s, "releases/"+string(r.Group)+"/"+string(r.App)+"/")
}

// AllReleases yields every release of the cloud, by app and number.
func (s *State) AllReleases() iter.Seq[*Release] { return all[*Release](s, "releases/") }

// VirtualHost returns a mapped host.
func (s *State) VirtualHost(h Host) (*VirtualHost, bool) {
	return get[*VirtualHost](s, virtualHostKey(h))
}

// VirtualHosts yields all mapped hosts by name.
func (s *State) VirtualHosts() iter.Seq[*VirtualHost] { return all[*VirtualHost](s, "hosts/") }

// HostsOf yields the mapped hosts that have a route to the app.
func (s *State) HostsOf(r AppRef) iter.Seq[*VirtualHost] {
	return under[*VirtualHost](s.index, targetIndex(r))
}

// MustApp returns an app, or an error that a person can use.
func (s *State) MustApp(r AppRef) (*App, error) {
	app, ok := s.App(r)
	if !ok {
		return nil, noApp(r)
	}
	return app, nil
}

// noApp is also what is said of an app that the caller may not see.
func noApp(r AppRef) error {
	return Errorf(NotFound, "no app %q in group %s", r.App, r.Group).WithCommand("micro apps")
}

// MustRelease returns an app and its release, the current one for N 0, or an error that a person can use.
func (s *State) MustRelease(r ReleaseRef) (*App, *Release, error) {
	app, err := s.MustApp(r.AppRef)
	if err != nil {
		return nil, nil, err
	}
	if r.N == 0 && app.Current == 0 {
		e := Errorf(NotFound, "app %s has no current release yet", r.AppRef)
		if app.Last == 0 {
			return app, nil, e.WithCommand("micro push --app %s", r.App)
		}
		return app, nil, e.WithCommand("micro releases %s", r.AppRef)
	}
	rel, ok := s.Release(r)
	if !ok {
		return app, nil, Errorf(NotFound, "no release r%d of app %s", r.N, r.AppRef).WithCommand("micro releases %s", r.AppRef)
	}
	return app, rel, nil
}
