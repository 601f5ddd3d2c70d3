package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/protoduction/micro/cloud"
)

// A new key is introduced in three steps, each of which rewrites the file at once or not at all. Add puts the new key behind
// the others, so that this node opens what others seal with it. Promote makes it the first, which seals. When every secret
// has been sealed again, Retain leaves out the keys that nothing needs any more. Whichever process is killed, the file has
// all keys that any secret was sealed with.

// NewKey returns a new key, as the text that Add takes.
func NewKey() (string, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", cloud.Errorf(cloud.Internal, "make a key: %w", err)
	}
	return id.String(), nil
}

// Add adds a key behind the others, and returns its public key. A key that is there already stays where it is.
func (k *Keys) Add(text string) (public string, err error) {
	id, err := age.ParseX25519Identity(strings.TrimSpace(text))
	if err != nil {
		return "", cloud.Errorf(cloud.Invalid, "the new key is not an X25519 key") // age's error may quote it
	}
	public = id.Recipient().String()
	now := k.now.Load().identities
	if k.index(public) >= 0 {
		return public, nil
	}
	return public, k.replace(append(slices.Clone(now), id))
}

// Promote makes a key the first one, which seals from now on.
func (k *Keys) Promote(public string) error {
	i := k.index(public)
	if i < 0 {
		return cloud.Errorf(cloud.NotFound, "the key file %s does not have the key %s", k.path, public)
	}
	now := slices.Clone(k.now.Load().identities)
	first := now[i]
	return k.replace(slices.Insert(slices.Delete(now, i, i+1), 0, first))
}

// Retain removes the keys but the first, and those that are needed, by their public keys.
func (k *Keys) Retain(needed func(public string) bool) error {
	now := k.now.Load().identities
	kept := now[:1:1]
	for _, id := range now[1:] {
		if needed(id.Recipient().String()) {
			kept = append(kept, id)
		}
	}
	if len(kept) == len(now) {
		return nil
	}
	return k.replace(kept)
}

// PublicKeys are those of all keys, the one that seals first.
func (k *Keys) PublicKeys() (all []string) {
	for _, id := range k.now.Load().identities {
		all = append(all, id.Recipient().String())
	}
	return all
}

func (k *Keys) index(public string) int { return slices.Index(k.PublicKeys(), public) }

// replace writes the keys to the file, durably, and uses them from then on.
func (k *Keys) replace(identities []*age.X25519Identity) error {
	path, err := filepath.EvalSymlinks(k.path)
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot find the key file: %w", err)
	}
	text := about
	for _, id := range identities {
		text += fmt.Sprintf("# public key: %s\n%s\n", id.Recipient(), id) // and no time: all nodes have the same file
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".micro-key-") // with mode 0600
	if err == nil {
		defer os.Remove(f.Name()) // nothing is left of it after the rename
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write the key file %s: %w", k.path, err).WithHint("a key that systemd hands over (LoadCredential) can't be rotated by micro: start with --key FILE once")
	}
	k.now.Store(&set{identities})
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write the key file %s: %w", k.path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot write the key file %s: %w", k.path, err)
	}
	return nil
}
