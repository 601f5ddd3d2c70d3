package cloud

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// MaxTokenLife is how long a token may be good for.
const MaxTokenLife = 90 * 24 * time.Hour

// Token lets a program, or a person who has logged in, use the API in the name of its owner. Its limits only
// take away from what the owner may do, and that is looked up at each request.
type Token struct {
	ID TokenID `json:"id"`
	// Hash is the SHA-256 of the token's secret, in hex. The secret itself is kept nowhere.
	Hash string `json:"hash"`
	// Owner is whose rights the token has. A token of nobody has Role, as its own.
	Owner   UserName  `json:"owner,omitempty"`
	Name    string    `json:"name,omitempty"` // what it is for, in its maker's words
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	Expires time.Time `json:"expires"`
	// Session tokens are those of a log-in.
	Session bool `json:"session,omitempty"`
	// Subjects are the groups that the owner's provider named when the owner logged in.
	Subjects []Subject `json:"subjects,omitempty"`
	TokenLimits
}

// TokenLimits are what a token takes away from its owner's rights. What is empty limits nothing.
type TokenLimits struct {
	Role       Role        `json:"role,omitempty"` // at most
	Groups     []GroupName `json:"groups,omitempty"`
	Apps       []AppRef    `json:"only_apps,omitempty"`
	Scopes     []string    `json:"scopes,omitempty"`     // names of sets of operations
	Operations []string    `json:"operations,omitempty"` // operations of the API, beside those of Scopes
	Fade       *FadeLimit  `json:"fade_limit,omitempty"`
}

// FadeLimit bounds what a token may do to where traffic goes: nothing but cross-fades within it.
type FadeLimit struct {
	Share   int      `json:"share"`            // percent of a route's requests, at most
	For     Duration `json:"for,omitempty"`    // at most, 0 for no limit
	Verdict bool     `json:"judged,omitempty"` // only cross-fades that are judged
}

// Key is "tokens/ID".
func (t *Token) Key() Key { return tokenKey(t.ID) }

func (t *Token) touch(*touched) {}

func (t *Token) indexes() []string {
	if t.Owner == "" {
		return nil
	}
	return []string{ownerIndex(t.Owner)}
}

func ownerIndex(n UserName) string { return "owner/" + string(n) + "/" }

func tokenKey(id TokenID) Key { return Key("tokens/" + string(id)) }

// Token returns a token.
func (s *State) Token(id TokenID) (*Token, bool) { return get[*Token](s, tokenKey(id)) }

// Tokens yields all tokens by ID.
func (s *State) Tokens() iter.Seq[*Token] { return all[*Token](s, "tokens/") }

// TokensOf yields the tokens of a user.
func (s *State) TokensOf(n UserName) iter.Seq[*Token] { return under[*Token](s.index, ownerIndex(n)) }

// CreateToken returns the changes that keep a token, and drop those that have expired. A token of nobody is
// for an admin of the whole cloud to make; a token that is no log-in makes none.
func (s *State) CreateToken(t Token, by Actor, at Stamp) ([]Change, error) {
	if maker, ok := s.Token(by.Token); ok && !maker.Session {
		return nil, Errorf(Denied, "a token cannot make tokens").WithCommand("micro login")
	}
	if err := t.validate(at.At); err != nil {
		return nil, err
	}
	if t.Owner == "" {
		if err := s.May(by, MayAdminister, Scope{}); err != nil {
			return nil, err
		}
		if t.Role == RoleNone {
			return nil, Errorf(Invalid, "a token that belongs to nobody needs a role").WithCommand("micro token create --role developer --scope push")
		}
	} else if _, err := s.MustUser(t.Owner); err != nil {
		return nil, err
	}
	for _, g := range t.allGroups() {
		if err := s.May(by, MayRead, Scope{Group: g}); err != nil {
			return nil, err
		}
		if _, err := s.MustGroup(g); err != nil {
			return nil, err
		}
	}
	t.Created, t.By = at.At, at.By
	changes := []Change{Put(&t)}
	for old := range s.Tokens() {
		if old.Expires.Before(at.At) {
			changes = append(changes, Delete(old))
		}
	}
	return changes[:min(len(changes), maxDropped)], nil
}

// maxDropped keeps a transaction small: what has expired and is left is dropped by the next one.
const maxDropped = 50

func (t *Token) validate(now time.Time) error {
	life := t.Expires.Sub(now)
	switch {
	case life <= 0 || life > MaxTokenLife:
		return Errorf(Invalid, "a token is good for more than nothing and at most %d days", int(MaxTokenLife.Hours()/24)).WithCommand("micro token create --expires 30d")
	case t.Role != RoleNone && t.Role.Validate() != nil:
		return t.Role.Validate()
	case len(t.Name) > 200:
		return Errorf(Invalid, "the name of a token has at most 200 bytes")
	case t.Fade != nil && (t.Fade.Share < 1 || t.Fade.Share > 100 || t.Fade.For < 0):
		return Errorf(Invalid, "a share of %d is not between 1 and 100 percent, or the time is below 0", t.Fade.Share).WithCommand("micro token create --max-share 5 --max-time 1h")
	}
	return nil
}

// RevokeToken returns the changes that end a token. Its owner may do that, and an admin of the whole cloud.
func (s *State) RevokeToken(id TokenID, by Actor) ([]Change, error) {
	t, ok := s.Token(id)
	if !ok || !s.ownsToken(by, t) && s.May(by, MayAdminister, Scope{}) != nil {
		return nil, Errorf(NotFound, "no token %q", string(id)).WithCommand("micro token list")
	}
	return []Change{Delete(t)}, nil
}

// ownsToken reports whether the actor sees a token in a list, and may revoke it.
func (s *State) ownsToken(by Actor, t *Token) bool {
	return by.Token == t.ID || t.Owner != "" && slices.Contains(by.Subjects, t.Owner.Subject())
}

// VisibleTokens yields the tokens that the actor may see: its own, or all for an admin of the whole cloud.
func (s *State) VisibleTokens(by Actor) iter.Seq[*Token] {
	return func(yield func(*Token) bool) {
		all := s.May(by, MayAdminister, Scope{}) == nil
		for t := range s.Tokens() {
			if (all || s.ownsToken(by, t)) && !yield(t) {
				return
			}
		}
	}
}

// allGroups are the groups that the token is limited to, none where it is not.
func (t *Token) allGroups() []GroupName {
	groups := slices.Clone(t.Groups)
	for _, app := range t.Apps {
		if !slices.Contains(groups, app.Group) {
			groups = append(groups, app.Group)
		}
	}
	return groups
}

// limitRole is what a token leaves of its owner's role in a group.
func (s *State) limitRole(by Actor, g GroupName, role Role) Role {
	if by.Token == "" {
		return role
	}
	t, ok := s.Token(by.Token)
	if !ok {
		return RoleNone // it was revoked
	}
	if groups := t.allGroups(); len(groups) > 0 && !slices.Contains(groups, g) {
		return RoleNone
	}
	switch {
	case t.Owner == "":
		return t.Role
	case t.Role != RoleNone:
		return lower(role, t.Role)
	}
	return role
}

// tokenGroups are the groups that the actor's token names, where a role may be found.
func (s *State) tokenGroups(by Actor) []GroupName {
	if t, ok := s.Token(by.Token); ok {
		return t.allGroups()
	}
	return nil
}

// mayByToken reports what the limits of the actor's token keep it from, beside the role.
func (s *State) mayByToken(by Actor, p Permission, in Scope) error {
	t, ok := s.Token(by.Token)
	if !ok || len(t.Apps) == 0 || in.Group == "" {
		return nil
	}
	if in.App == "" && in.Host == "" {
		if p == MayRead {
			return nil // lists have what the token is for
		}
		return Errorf(Denied, "the token is for %s alone", t.appNames())
	}
	if in.App != "" && !slices.Contains(t.Apps, AppRef{in.Group, in.App}) {
		return noApp(AppRef{in.Group, in.App})
	}
	if vhost, ok := s.VirtualHost(in.Host); ok {
		for app := range vhost.Apps() {
			if !slices.Contains(t.Apps, app) {
				return Errorf(Denied, "the token is for %s alone, and host %s leads elsewhere too", t.appNames(), in.Host)
			}
		}
	}
	return nil
}

func (t *Token) appNames() string {
	var names []string
	for _, app := range t.Apps {
		names = append(names, app.String())
	}
	return "app " + strings.Join(names, ", ")
}

// SeesApp reports whether an app is among what the actor may read.
func (s *State) SeesApp(by Actor, r AppRef) bool {
	return s.May(by, MayRead, Scope{Group: r.Group, App: r.App}) == nil
}

// MayFade reports what the actor's token does not allow of a cross-fade. A token without such a limit allows all.
func (s *State) MayFade(by Actor, plan FadePlan) error {
	t, ok := s.Token(by.Token)
	if ok && t.Fade != nil && t.Fade.Verdict && len(plan.Guards) == 0 {
		return Errorf(Denied, "the token allows cross-fades with a verdict only").WithHint("leave out --guard none, and use crossfade instead of cutover")
	}
	return nil
}

// MayMoveTraffic reports that the actor's token has a limit on cross-fades: what moves traffic in another
// way would go round it.
func (s *State) MayMoveTraffic(by Actor) error {
	t, ok := s.Token(by.Token)
	if !ok || t.Fade == nil {
		return nil
	}
	return Errorf(Denied, "the token moves traffic by cross-fades alone, of at most %d %%", t.Fade.Share).WithCommand("micro crossfade HOST --to APP@rN")
}

// forgetTokensOf returns the changes that take a group out of the tokens that are limited to it. A token that
// would be left without any limit to groups is dropped: it must not become wider.
func (s *State) forgetTokensOf(g GroupName) (changes []Change) {
	for t := range s.Tokens() {
		if !slices.Contains(t.allGroups(), g) {
			continue
		}
		next := *t
		next.Groups = slices.DeleteFunc(slices.Clone(t.Groups), func(o GroupName) bool { return o == g })
		next.Apps = slices.DeleteFunc(slices.Clone(t.Apps), func(a AppRef) bool { return a.Group == g })
		if len(next.allGroups()) == 0 || len(t.Apps) > 0 && len(next.Apps) == 0 {
			changes = append(changes, Delete(t))
			continue
		}
		changes = append(changes, Put(&next))
	}
	return changes
}
