package cloud

import (
	"iter"
	"time"
)

// User is a person who may log in. What the person may do is in grants.
type User struct {
	Name    UserName  `json:"name"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	// Password is the argon2id hash of the password, "" where the user has none.
	Password string `json:"password,omitempty"`
	// Disabled users may do nothing, whatever they were granted.
	Disabled bool `json:"disabled,omitempty"`
	// Identity is who the user is for an OpenID Connect provider.
	Identity *Identity `json:"identity,omitempty"`
}

// Identity is a person as an OpenID Connect provider knows one.
type Identity struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Key is "users/NAME".
func (u *User) Key() Key { return userKey(u.Name) }

func (u *User) touch(*touched) {}

func (u *User) indexes() []string {
	if u.Identity == nil {
		return nil
	}
	return []string{u.Identity.index()}
}

func (i *Identity) index() string { return "identity/" + i.Issuer + "\x00" + i.Subject + "/" }

func userKey(n UserName) Key { return Key("users/" + string(n)) }

// User returns a user.
func (s *State) User(n UserName) (*User, bool) { return get[*User](s, userKey(n)) }

// Users yields all users by name.
func (s *State) Users() iter.Seq[*User] { return all[*User](s, "users/") }

// UserOf returns the user whom a provider knows as i.
func (s *State) UserOf(i Identity) (*User, bool) {
	for u := range under[*User](s.index, i.index()) {
		return u, true
	}
	return nil, false
}

// MustUser returns a user, or an error that a person can use.
func (s *State) MustUser(n UserName) (*User, error) {
	u, ok := s.User(n)
	if !ok {
		return nil, Errorf(NotFound, "no user %q", string(n)).WithCommand("micro user list")
	}
	return u, nil
}

// CreateUser returns the changes that make a user. password is a hash, "" for a user who logs in by other means.
func (s *State) CreateUser(n UserName, password string, identity *Identity, at Stamp) ([]Change, error) {
	if err := n.Validate(); err != nil {
		return nil, err
	}
	if _, ok := s.User(n); ok {
		return nil, Errorf(Conflict, "user %s exists already", n).WithCommand("micro user list")
	}
	return []Change{Put(&User{Name: n, Created: at.At, By: at.By, Password: password, Identity: identity})}, nil
}

// SetPassword returns the changes that give a user another password, and end the user's log-ins. password is a hash.
func (s *State) SetPassword(n UserName, password string) ([]Change, error) {
	u, err := s.MustUser(n)
	if err != nil {
		return nil, err
	}
	next := *u
	next.Password = password
	changes := []Change{Put(&next)}
	for t := range s.TokensOf(n) {
		if t.Session {
			changes = append(changes, Delete(t))
		}
	}
	return changes, nil
}

// DeleteUser returns the changes that remove a user with the user's roles and tokens. The last admin stays.
func (s *State) DeleteUser(n UserName) ([]Change, error) {
	u, err := s.MustUser(n)
	if err != nil {
		return nil, err
	}
	if s.lastAdmin(n) {
		return nil, lastAdmin(n)
	}
	changes := []Change{Delete(u)}
	for g := range s.GrantsOf(n.Subject()) {
		changes = append(changes, Delete(g))
	}
	for t := range s.TokensOf(n) {
		changes = append(changes, Delete(t))
	}
	return changes, nil
}

// DisableUser returns the changes that take all rights from a user, or give them back.
func (s *State) DisableUser(n UserName, disabled bool) ([]Change, error) {
	u, err := s.MustUser(n)
	if err != nil {
		return nil, err
	}
	if u.Disabled == disabled {
		return nil, nil
	}
	if disabled && s.lastAdmin(n) {
		return nil, lastAdmin(n)
	}
	next := *u
	next.Disabled = disabled
	return []Change{Put(&next)}, nil
}

// lastAdmin reports whether the user is the only one who is admin of the whole cloud.
func (s *State) lastAdmin(n UserName) bool {
	is, others := false, false
	for u := range s.Users() {
		g, ok := s.Grant(u.Name.Subject(), "")
		if !ok || g.Role != RoleAdmin || u.Disabled {
			continue
		}
		if u.Name == n {
			is = true
		} else {
			others = true
		}
	}
	return is && !others
}

func lastAdmin(n UserName) error {
	return Errorf(Conflict, "%s is the last admin of the cloud", n).WithCommand("micro role grant admin USER --cloud")
}
