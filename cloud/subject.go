package cloud

import (
	"net/url"
	"regexp"
	"strings"
)

// Subject is whom a role can be granted to: "user:anna", "unix:wheel" (a group of the node's system) or
// "oidc:qa-team" (a group that the OpenID Connect provider names).
type Subject string

// UserName names a person.
type UserName string

// TokenID names a token. It is no secret.
type TokenID string

var userName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._@+-]*[a-z0-9])?$`)

// maxUserName is how many characters a user's name may have.
const maxUserName = 64

// Validate reports what keeps the name from being a user's. "micro" and "root" stand for others in the audit log.
func (n UserName) Validate() error {
	switch {
	case len(n) > maxUserName || !userName.MatchString(string(n)):
		return Errorf(Invalid, "invalid user name %q", string(n)).WithHint("use a-z, 0-9 and . _ @ + -, which do not begin or end it, at most %d characters; for example anna", maxUserName)
	case n == "micro" || n == "root":
		return Errorf(Invalid, "user name %q is reserved", string(n)).WithHint("choose another name")
	}
	return nil
}

// Subject is the name under which the user is granted roles.
func (n UserName) Subject() Subject { return Subject("user:" + string(n)) }

// UnixGroup and OIDCGroup are the subjects of groups that are managed elsewhere.
func UnixGroup(name string) Subject { return Subject("unix:" + name) }

// OIDCGroup is the subject of a group that an OpenID Connect provider names.
func OIDCGroup(name string) Subject { return Subject("oidc:" + name) }

// maxGroupName is how long the name of a group that is managed elsewhere may be, in bytes.
const maxGroupName = 200

// ParseSubject reads "anna", "unix:wheel" or "oidc:qa-team".
func ParseSubject(text string) (Subject, error) {
	kind, name, ok := strings.Cut(text, ":")
	if !ok {
		kind, name = "user", text
	}
	switch kind {
	case "user":
		return UserName(name).Subject(), UserName(name).Validate()
	case "unix", "oidc":
		if name == "" || len(name) > maxGroupName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", Errorf(Invalid, "invalid group %q", text).WithHint("for example %s:qa-team", kind)
		}
		return Subject(text), nil
	}
	return "", Errorf(Invalid, "%q is neither a user nor a group", text).WithHint("write anna, unix:GROUP or oidc:GROUP")
}

// User returns the user's name, where the subject is one.
func (c Subject) User() (UserName, bool) {
	name, ok := strings.CutPrefix(string(c), "user:")
	return UserName(name), ok
}

// String is "anna" for a user, and as ParseSubject reads it for others.
func (c Subject) String() string {
	if name, ok := c.User(); ok {
		return string(name)
	}
	return string(c)
}

// key is the subject as a part of a key: without slashes.
func (c Subject) key() string { return url.PathEscape(string(c)) }
