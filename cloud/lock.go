package cloud

import "time"

// Lock keeps an app from being deployed.
type Lock struct {
	AppRef
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"` // why, and until when
}

// Key is "locks/GROUP/APP".
func (l *Lock) Key() Key { return lockKey(l.AppRef) }

func (l *Lock) touch(*touched)    {}
func (l *Lock) indexes() []string { return nil }

func lockKey(r AppRef) Key { return Key("locks/" + string(r.Group) + "/" + string(r.App)) }

// Lock returns the lock of an app; ok is false where it has none.
func (s *State) Lock(r AppRef) (*Lock, bool) { return get[*Lock](s, lockKey(r)) }

// LockApp returns the changes that lock an app.
func (s *State) LockApp(r AppRef, text string, at Stamp) ([]Change, error) {
	if _, err := s.MustApp(r); err != nil {
		return nil, err
	}
	if text == "" || len(text) > maxNote {
		return nil, Errorf(Invalid, "say why the app is locked, in at most %d bytes", maxNote).WithHint(`micro lock %s -m "freeze until Monday"`, r)
	}
	if err := s.notLocked(r); err != nil {
		return nil, err
	}
	return []Change{Put(&Lock{r, at.At, at.By, text})}, nil
}

// UnlockApp returns the changes that unlock an app.
func (s *State) UnlockApp(r AppRef) ([]Change, error) {
	if _, err := s.MustApp(r); err != nil {
		return nil, err
	}
	if l, ok := s.Lock(r); ok {
		return []Change{Delete(l)}, nil
	}
	return nil, nil
}

// notLocked reports a lock, which keeps away new releases, promotions and cross-fades. The ways back are open:
// rollback, and the end of a cross-fade.
func (s *State) notLocked(r AppRef) error {
	if l, ok := s.Lock(r); ok {
		return Errorf(Conflict, "app %s is locked by %s: %s", r, l.By, l.Text).WithCommand("micro unlock %s", r)
	}
	return nil
}
