package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"filippo.io/age"

	"github.com/protoduction/micro/cloud"
)

// Keys seals and opens secrets. It is safe for concurrent use.
type Keys struct {
	path string
	now  atomic.Pointer[set]
}

// set is the keys that a file has.
type set struct {
	identities []*age.X25519Identity
}

func (s *set) recipient() *age.X25519Recipient { return s.identities[0].Recipient() }

func (s *set) all() (all []age.Identity) {
	for _, id := range s.identities {
		all = append(all, id)
	}
	return all
}

// Load reads the keys from a file, to which only its owner may have access. It returns NotFound if there is no
// such file, and Invalid if others have access or the file has no key.
func Load(path string) (*Keys, error) {
	k := &Keys{path: path}
	if err := k.load(); err != nil {
		return nil, err
	}
	return k, nil
}

// load reads the file.
func (k *Keys) load() error {
	f, err := os.Open(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return cloud.Errorf(cloud.NotFound, "the key file %s does not exist: %w", k.path, err)
	}
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot open the key file: %w", err)
	}
	defer f.Close()
	if err := checkMode(f); err != nil {
		return err
	}
	identities, err := age.ParseIdentities(io.LimitReader(f, 1<<20))
	if err != nil {
		// Don't use age's error: it would quote the line, which may be a key.
		return cloud.Errorf(cloud.Invalid, "the key file %s must contain age keys and nothing else", k.path).WithHint("put back the key file that belongs to this cloud")
	}
	var next set
	for i, id := range identities {
		key, ok := id.(*age.X25519Identity)
		if !ok {
			return cloud.Errorf(cloud.Invalid, "key %d of %s is not an X25519 key", i+1, k.path).WithHint("make it with age-keygen")
		}
		next.identities = append(next.identities, key)
	}
	k.now.Store(&next)
	return nil
}

func checkMode(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return cloud.Errorf(cloud.Unavailable, "cannot check the key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return cloud.Errorf(cloud.Invalid, "the key file %s is not a regular file", f.Name())
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if int(owner.Uid) != os.Geteuid() && owner.Uid != 0 || info.Mode().Perm()&0o077 != 0 {
		return cloud.Errorf(cloud.Invalid, "other users have access to the key file %s (owner %d, mode %04o)", f.Name(), owner.Uid, info.Mode().Perm()).WithCommand("chmod 600 %s", f.Name())
	}
	return nil
}

// Make writes a new key to a file that must not exist yet. The file appears complete or not at all, and is
// durable when Make returns, because secrets sealed with a lost key could never be opened.
func Make(path string) (*Keys, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, cloud.Errorf(cloud.Internal, "make a key: %w", err)
	}
	text := about + fmt.Sprintf("# created: %s\n# public key: %s\n%s\n", time.Now().UTC().Format(time.RFC3339), id.Recipient(), id)
	if err := writeNew(path, text); err != nil {
		return nil, cloud.Errorf(cloud.Unavailable, "cannot write the key file: %w", err).WithHint("choose another path with --key")
	}
	return Load(path)
}

const about = "# The key to the secrets of a micro cloud. Without it a backup of the cloud is worth little: keep a copy,\n# and not with the backups.\n"

func writeNew(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".micro-key-") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Unlike a rename, a link never replaces a key that another process made meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Path returns the path of the key file.
func (k *Keys) Path() string { return k.path }

// Seal encrypts a secret. place is the name of the place where it is stored: Open needs the same name.
func (k *Keys) Seal(place string, secret []byte) (cloud.Sealed, error) {
	if strings.ContainsRune(place, 0) {
		return "", cloud.Errorf(cloud.Internal, "seal a secret for %q: the name has a NUL byte", place)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, k.now.Load().recipient())
	if err == nil {
		_, err = w.Write(append([]byte(place+"\x00"), secret...))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", cloud.Errorf(cloud.Internal, "seal a secret for %s: %w", place, err)
	}
	return cloud.Sealed(base64.RawStdEncoding.EncodeToString(out.Bytes())), nil
}

// Open decrypts a secret that was sealed for a place. It returns Invalid if the secret was sealed for another
// place or with another key, or was changed.
func (k *Keys) Open(place string, s cloud.Sealed) ([]byte, error) {
	sealed, err := base64.RawStdEncoding.DecodeString(string(s))
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "the secret of %s is damaged", place)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), k.now.Load().all()...)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return nil, cloud.Errorf(cloud.Invalid, "the secret of %s was sealed with a key that is not in %s", place, k.path).
			WithHint("put back the key file that belongs to this cloud, as %s", k.path)
	}
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "the secret of %s is damaged: %w", place, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, cloud.Errorf(cloud.Invalid, "the secret of %s is damaged: %w", place, err)
	}
	where, secret, ok := bytes.Cut(plain, []byte{0})
	if !ok || string(where) != place {
		return nil, cloud.Errorf(cloud.Invalid, "the secret of %s was sealed for another place", place)
	}
	return secret, nil
}
