package cloud

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Object is one thing that a State keeps. A new kind of object is one file, which declares its type with
// these methods, and one line in kinds.
type Object interface {
	// Key is where the object is kept: its kind's prefix, a slash, and a name.
	Key() Key
	// touch tells t what may look different once the object has come, changed or gone.
	touch(t *touched)
	// indexes are the prefixes by which State.index finds the object too; most objects have none.
	indexes() []string
}

// kinds are the kinds of objects that this version knows: the first part of their keys, and an empty
// object to decode into.
var kinds = map[string]func() Object{
	"accounts":    func() Object { return new(Account) },
	"authorities": func() Object { return new(Authority) },
	"apps":        func() Object { return new(App) },
	"assignments": func() Object { return new(Assignment) },
	"brokers":     func() Object { return new(Broker) },
	"backups":     func() Object { return new(Backup) },
	"clusters":    func() Object { return new(Cluster) },
	"counters":    func() Object { return new(Counter) },
	"domains":     func() Object { return new(PublicDomain) },
	"egress":      func() Object { return new(Egress) },
	"gates":       func() Object { return new(Gate) },
	"grants":      func() Object { return new(Grant) },
	"groups":      func() Object { return new(Group) },
	"homes":       func() Object { return new(Home) },
	"hosts":       func() Object { return new(VirtualHost) },
	"imagenames":  func() Object { return new(ImageName) },
	"kinds":       func() Object { return new(ServiceKind) },
	"links":       func() Object { return new(Link) },
	"jointokens":  func() Object { return new(JoinToken) },
	"locks":       func() Object { return new(Lock) },
	"nodes":       func() Object { return new(Node) },
	"places":      func() Object { return new(BackupPlace) },
	"providers":   func() Object { return new(Provider) },
	"quotas":      func() Object { return new(Quota) },
	"releases":    func() Object { return new(Release) },
	"reviews":     func() Object { return new(Review) },
	"schedules":   func() Object { return new(BackupSchedule) },
	"settings":    func() Object { return new(Settings) },
	"tokens":      func() Object { return new(Token) },
	"users":       func() Object { return new(User) },
	"webhooks":    func() Object { return new(Webhook) },
	"works":       func() Object { return new(VolumeWork) },
}

// Kind is the first part of the key, which says what is kept there: "apps".
func (k Key) Kind() string {
	kind, _, _ := strings.Cut(string(k), "/")
	return kind
}

// MayHoldSecrets reports that objects of the key's kind may hold secrets, such as passwords in an environment or a URL. The
// store encrypts them.
func (k Key) MayHoldSecrets() bool {
	switch k.Kind() {
	case "accounts", "apps", "brokers", "places", "releases", "webhooks":
		return true
	}
	return false
}

// Unknown is an object of a kind that this version does not know: a newer micro wrote it. It is kept byte
// for byte, so that the newer one finds it again, and nothing is decided by it.
type Unknown struct {
	key   Key
	value []byte
}

// Key is where the object was found.
func (u *Unknown) Key() Key { return u.key }

func (u *Unknown) touch(*touched)    {}
func (u *Unknown) indexes() []string { return nil }

// Encode is the change's value as it is stored, nil for a deletion.
func (c Change) Encode() ([]byte, error) {
	if c.Object == nil {
		return nil, nil
	}
	if u, ok := c.Object.(*Unknown); ok {
		return u.value, nil
	}
	if c.newer != "" {
		return []byte(c.newer), nil
	}
	return json.Marshal(c.Object)
}

// DecodeChange reads what Encode wrote for the key; an empty value is a deletion. An object of a kind that
// is not known becomes an *Unknown. Members that are not known stay with the change: see KeepNewer.
func DecodeChange(key Key, value []byte) (Change, error) {
	c := Change{Key: key}
	if len(value) == 0 {
		return c, nil
	}
	empty, ok := kinds[key.Kind()]
	if !ok {
		c.Object = &Unknown{key, bytes.Clone(value)}
		return c, nil
	}
	c.Object = empty()
	strict := json.NewDecoder(bytes.NewReader(value))
	strict.DisallowUnknownFields()
	if strict.Decode(c.Object) != nil {
		c.Object, c.newer = empty(), string(value)
		if err := json.Unmarshal(value, c.Object); err != nil {
			return c, Errorf(Internal, "the store's %q cannot be read: %w", key, err)
		}
	}
	if c.Object.Key() != key {
		return c, Errorf(Internal, "the store's %q holds the object %q", key, c.Object.Key())
	}
	return c, nil
}
