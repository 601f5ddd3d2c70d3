package cloud

import (
	"iter"
	"slices"
	"time"
)

// VolumeWork is a restore of a volume, or a move of all volumes of an app, that is under way. Whoever does the work removes
// it in the transaction that makes its result true.
type VolumeWork struct {
	AppRef
	ID string `json:"id"` // unique
	// Halts takes the places of all releases with volumes away, so that no instance has them.
	Halts bool `json:"halts,omitempty"`
	// Volume is the one that is restored, "" if all move.
	Volume string `json:"volume,omitempty"`
	// To is the node that the volumes move to, "" for a restore.
	To NodeName `json:"to,omitempty"`
	// Node does the work, in the process that it named so at its start. Another process of the node takes the work back.
	Node    NodeName  `json:"node"`
	Process string    `json:"process"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
}

// Key is "works/GROUP/APP".
func (w *VolumeWork) Key() Key { return workKey(w.AppRef) }

func workKey(r AppRef) Key { return Key("works/" + string(r.Group) + "/" + string(r.App)) }

func (w *VolumeWork) touch(t *touched)  { t.placed[w.AppRef] = true }
func (w *VolumeWork) indexes() []string { return nil }

// VolumeWork returns what is being done with an app's volumes.
func (s *State) VolumeWork(r AppRef) (*VolumeWork, bool) { return get[*VolumeWork](s, workKey(r)) }

// VolumeWorks yields all works, by group and app.
func (s *State) VolumeWorks() iter.Seq[*VolumeWork] { return all[*VolumeWork](s, "works/") }

// HaltingWork returns the work because of which an app's releases with volumes don't run.
func (s *State) HaltingWork(r AppRef) (*VolumeWork, bool) {
	w, ok := s.VolumeWork(r)
	return w, ok && w.Halts
}

// Reason is why no release with volumes runs, for a person.
func (w *VolumeWork) Reason() string {
	if w.To != "" {
		return "its volumes move to node " + string(w.To)
	}
	return "volume " + w.Volume + " is being restored"
}

// MustVolumes returns the names of an app's volumes and the node that has them. A name must be one of them, unless it is "".
func (s *State) MustVolumes(r AppRef, name string) (names []string, home NodeName, err error) {
	if _, err := s.MustApp(r); err != nil {
		return nil, "", err
	}
	names = s.Volumes(r)
	h, ok := s.Home(r)
	switch {
	case len(names) == 0:
		return nil, "", Errorf(NotFound, "app %s has no volume", r).WithCommand("micro volume list")
	case name != "" && !slices.Contains(names, name):
		return nil, "", Errorf(NotFound, "app %s has no volume %q, only %v", r, name, names).WithCommand("micro volume list %s", r)
	case !ok:
		return nil, "", Errorf(Conflict, "the volumes of %s are made when it runs for the first time", r).WithCommand("micro app %s", r)
	}
	return names, h.Node, nil
}

// BeginVolumeWork returns the changes that begin a work. A move takes all instances of the app away at once.
func (s *State) BeginVolumeWork(w VolumeWork) ([]Change, error) {
	app, err := s.MustApp(w.AppRef)
	if err != nil {
		return nil, err
	}
	_, home, err := s.MustVolumes(w.AppRef, w.Volume)
	if err != nil {
		return nil, err
	}
	if other, busy := s.VolumeWork(w.AppRef); busy {
		return nil, Errorf(Conflict, "%s is under way already, by %s", other.what(), other.By).WithCommand("micro volume list %s", w.AppRef)
	}
	if app.Rollout != nil {
		return nil, Errorf(Conflict, "%s is switching to r%d", w.AppRef, app.Rollout.To).WithCommand("micro app %s", w.AppRef)
	}
	if w.To != "" {
		if home == w.To {
			return nil, Errorf(Conflict, "node %s has the volumes of %s already", home, w.AppRef).WithCommand("micro volume list %s", w.AppRef)
		}
		if err := s.takes(w.To, w.AppRef); err != nil {
			return nil, err
		}
		w.Halts = true
	}
	return []Change{Put(&w)}, nil
}

// takes reports why the releases of an app that run and have volumes could not run on a node.
func (s *State) takes(name NodeName, r AppRef) error {
	node, ok := s.Node(name)
	if !ok {
		return Errorf(NotFound, "no node %q in this cloud", name).WithCommand("micro node list")
	}
	if node.Drain {
		return Errorf(Conflict, "node %s is being drained", name).WithCommand("micro node undrain %s", name)
	}
	use := s.Used(name)
	for rel := range s.Releases(r) {
		if len(rel.Spec.Volumes) == 0 || !s.Runs(rel) {
			continue
		}
		if !node.HasLabels(rel.Spec.Place) {
			return Errorf(Conflict, "node %s lacks the labels that %s asks for", name, rel.ReleaseRef).WithCommand("micro node list")
		}
		for _, scale := range s.Wanted(rel) {
			use.Memory += int64(scale.Instances) * scale.Memory
			use.CPU += int64(scale.Instances) * scale.CPU
		}
	}
	if node.Capacity.Memory > 0 && use.Memory > node.Capacity.Memory || node.Capacity.CPU > 0 && use.CPU > node.Capacity.CPU {
		return Errorf(Conflict, "node %s has no room for %s", name, r).WithCommand("micro node list")
	}
	return nil
}

// HaltForWork returns the changes after which no instance has the volumes that a work is about.
func (s *State) HaltForWork(w *VolumeWork) ([]Change, error) {
	if err := s.isUnderWay(w); err != nil {
		return nil, err
	}
	if app, err := s.MustApp(w.AppRef); err != nil {
		return nil, err
	} else if app.Rollout != nil {
		return nil, Errorf(Conflict, "%s is switching to r%d", w.AppRef, app.Rollout.To).WithCommand("micro app %s", w.AppRef)
	}
	next := *w
	next.Halts = true
	return []Change{Put(&next)}, nil
}

// isUnderWay reports that somebody has taken a work back.
func (s *State) isUnderWay(w *VolumeWork) error {
	if now, ok := s.VolumeWork(w.AppRef); ok && now.ID == w.ID {
		return nil
	}
	return Errorf(Conflict, "%s was given up meanwhile, for example because node %s was away", w.what(), w.Node)
}

// EndVolumeWork returns the changes after which the app runs again: where its volumes are now, if the work was done. It fails
// if somebody has taken the work back.
func (s *State) EndVolumeWork(w *VolumeWork, done bool) ([]Change, error) {
	if err := s.isUnderWay(w); err != nil {
		return nil, err
	}
	changes := []Change{Delete(w)}
	if done && w.To != "" {
		if _, err := s.MustApp(w.AppRef); err != nil {
			return nil, err
		}
		if _, ok := s.Node(w.To); !ok {
			return nil, Errorf(Conflict, "node %s has left the cloud", w.To)
		}
		changes = append(changes, Put(&Home{AppRef: w.AppRef, Node: w.To}))
	}
	return changes, nil
}

func (w *VolumeWork) what() string {
	if w.To != "" {
		return "moving the volumes of " + w.AppRef.String()
	}
	return "restoring volume " + w.Volume + " of " + w.AppRef.String()
}

// HasVolumes reports whether a release of the app with volumes has a place, or an instance that has not ended.
func (v View) HasVolumes(r AppRef) bool {
	for a := range v.State.Assignments(r) {
		rel, ok := v.State.Release(a.ReleaseRef)
		if len(a.Places) > 0 && (!ok || len(rel.Spec.Volumes) > 0) {
			return true
		}
	}
	for i := range v.Instances.OfApp(r) {
		rel, ok := v.State.Release(i.ReleaseRef)
		if i.Phase != InstanceExited && (!ok || len(rel.Spec.Volumes) > 0) {
			return true
		}
	}
	return false
}
