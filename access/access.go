package access

import (
	"context"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/protoduction/micro/cloud"
)

// Store is the durable truth.
type Store interface {
	State() *cloud.State
	// Update applies what fn returns, and writes an audit line in the same transaction.
	Update(ctx context.Context, by cloud.Actor, verb, object string, fn func(*cloud.State) ([]cloud.Change, error)) (*cloud.State, error)
	// Record writes an audit line of something that changes no state.
	Record(ctx context.Context, by cloud.Actor, verb, object, result string) error
	// Refused notes in the audit log that somebody was not let in.
	Refused(by cloud.Actor, verb, object string)
}

// SessionLife is how long a log-in is good for.
const SessionLife = 12 * time.Hour

// Access finds out who is calling.
type Access struct {
	store Store
	now   func() time.Time
	*Passwords
	throttle throttle
	provider provider

	mu   sync.Mutex
	used map[cloud.TokenID]time.Time // when each token was last shown
}

// New returns an Access.
func New(store Store, keys Keys, now func() time.Time) *Access {
	return &Access{
		provider: provider{keys: keys, asking: make(chan struct{}, maxAsking)},
		store:    store, now: now, Passwords: NewPasswords(),
		throttle: throttle{failures: map[string]failures{}}, used: map[cloud.TokenID]time.Time{},
	}
}

// Caller returns who shows a token, and until when it is good. The error is Unauthenticated for one that is not
// known or has expired.
func (a *Access) Caller(text, source string) (cloud.Actor, time.Time, error) {
	id, hash, err := ParseToken(text)
	if err != nil {
		return cloud.Actor{Name: "unknown", Source: source}, time.Time{}, err
	}
	t, ok := a.store.State().Token(id)
	known := ""
	if ok {
		known = t.Hash
	}
	if subtle.ConstantTimeCompare([]byte(hash), []byte(known)) != 1 {
		return cloud.Actor{Name: "unknown", Source: source}, time.Time{},
			cloud.Errorf(cloud.Unauthenticated, "the token is not known here: it was revoked, or belongs to another cloud").WithCommand("micro login")
	}
	by := actorOf(t, source)
	now := a.now()
	if !now.Before(t.Expires) {
		return by, time.Time{}, cloud.Errorf(cloud.Unauthenticated, "the token %s has expired at %s", id, t.Expires.UTC().Format(time.RFC3339)).WithCommand("micro login")
	}
	if user, ok := a.store.State().User(t.Owner); t.Owner != "" && (!ok || user.Disabled) {
		return by, time.Time{}, cloud.Errorf(cloud.Unauthenticated, "user %s is disabled", t.Owner).WithHint("ask an admin")
	}
	a.mu.Lock()
	a.used[id] = now
	a.mu.Unlock()
	return by, t.Expires, nil
}

// actorOf is who shows a token.
func actorOf(t *cloud.Token, source string) cloud.Actor {
	by := cloud.Actor{Name: string(t.Owner), Source: source, Token: t.ID}
	if t.Owner == "" {
		by.Name = "token " + string(t.ID)
		return by
	}
	by.Subjects = append([]cloud.Subject{t.Owner.Subject()}, t.Subjects...)
	return by
}

// LastUsed returns when a token was last shown to this node since its start.
func (a *Access) LastUsed(id cloud.TokenID) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used[id]
}

// NewToken returns a new token, its ID, and the hash that is kept of it.
func (a *Access) NewToken() (text string, id cloud.TokenID, hash string) { return NewToken() }

// Login returns the token of a new log-in, by a user's password.
func (a *Access) Login(ctx context.Context, name cloud.UserName, password, source string) (text string, t cloud.Token, err error) {
	user, err := a.check(name, password, "", source)
	if err != nil {
		return "", t, err
	}
	return a.begin(ctx, nil, source, user.Name, func(s *cloud.State, _ cloud.Stamp) (*cloud.User, []cloud.Change, error) {
		user, err := s.MustUser(user.Name)
		return user, nil, err
	})
}

// Visit returns the user whose password is right, and notes the log-in to a host. The error is Unauthenticated where
// it is wrong, and Unavailable for who has to wait.
func (a *Access) Visit(ctx context.Context, name cloud.UserName, password, host, source string) (*cloud.User, error) {
	user, err := a.check(name, password, "host "+host, source)
	if err != nil {
		return nil, err
	}
	by := cloud.Actor{Name: string(user.Name), Source: source}
	return user, a.store.Record(ctx, by, "login", "host "+host, "done")
}

// check returns the user whose password is right. Who tries too often has to wait.
func (a *Access) check(name cloud.UserName, password, object, source string) (*cloud.User, error) {
	now := a.now()
	if err := a.throttle.check(string(name), source, now); err != nil {
		a.store.Refused(cloud.Actor{Name: a.shown(name), Source: source}, "login", object)
		return nil, err
	}
	user, _ := a.store.State().User(name) // nil costs as much as a wrong password
	if err := a.Verify(user, password); err != nil {
		a.throttle.fail(string(name), source, now)
		a.store.Refused(cloud.Actor{Name: a.shown(name), Source: source}, "login", object)
		return nil, cloud.Errorf(cloud.Unauthenticated, "%w", err).WithHintOf(err)
	}
	a.throttle.succeed(string(name), source)
	return user, nil
}

// shown is a name as the audit log has it: a password that was typed in its place must not be in it.
func (a *Access) shown(name cloud.UserName) string {
	if _, ok := a.store.State().User(name); !ok {
		return "unknown"
	}
	return string(name)
}

// begin keeps a new log-in of the user that who returns, with the changes that make the user first. groups are those
// that a provider named.
func (a *Access) begin(ctx context.Context, groups []cloud.Subject, source string, name cloud.UserName, who func(*cloud.State, cloud.Stamp) (*cloud.User, []cloud.Change, error)) (string, cloud.Token, error) {
	text, id, hash := NewToken()
	now := a.now().UTC().Truncate(time.Second)
	at := cloud.Stamp{At: now, By: string(name)}
	t := cloud.Token{ID: id, Hash: hash, Session: true, Expires: now.Add(SessionLife), Subjects: groups}
	by := cloud.Actor{Name: string(name), Source: source}
	_, err := a.store.Update(ctx, by, "login", "user "+string(name), func(s *cloud.State) ([]cloud.Change, error) {
		user, changes, err := who(s, at)
		if err != nil {
			return nil, err
		}
		t.Owner = user.Name
		more, err := s.Apply(s.Rev()+1, changes).CreateToken(t, actorOf(&cloud.Token{Owner: t.Owner, Subjects: groups}, source), at)
		return append(changes, more...), err
	})
	return text, t, err
}
