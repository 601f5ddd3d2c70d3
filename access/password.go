package access

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"github.com/protoduction/micro/cloud"
)

// What a hash costs: RFC 9106 and OWASP's least for argon2id. It is written into each hash, so that it can be
// raised.
const (
	hashMemory  = 19 << 10 // KiB
	hashTime    = 2
	hashThreads = 1
	saltBytes   = 16
	keyBytes    = 32
)

// Lengths of passwords, in bytes.
const (
	minPassword = 10
	maxPassword = 1000
)

// maxHashes is how many hashes are computed at a time: each takes hashMemory.
const maxHashes = 2

// Passwords hashes and checks passwords.
type Passwords struct {
	places chan struct{}
	hashed atomic.Int64 // how many hashes were computed
	// nobody is what the password of an unknown user is checked against. It is random, so that no password has it, and
	// nothing had to be hashed for it: that would take 19 MiB and 30 ms of each start.
	nobody string
}

// NewPasswords returns what hashes and checks passwords.
func NewPasswords() *Passwords {
	salt, key := make([]byte, saltBytes), make([]byte, keyBytes)
	rand.Read(salt) // it never fails
	rand.Read(key)
	return &Passwords{places: make(chan struct{}, maxHashes), nobody: formatHash(salt, key)}
}

// Hash returns the hash of a new password; one that is too short or too long is Invalid.
func (p *Passwords) Hash(password string) (string, error) {
	if len(password) < minPassword || len(password) > maxPassword {
		return "", cloud.Errorf(cloud.Invalid, "a password has %d to %d bytes, and this one has %d", minPassword, maxPassword, len(password)).WithHint("choose a longer one")
	}
	return p.hash(password), nil
}

func (p *Passwords) hash(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // it never fails
	return formatHash(salt, p.key(password, salt, hashTime, hashMemory, hashThreads, keyBytes))
}

// formatHash writes a hash in the usual form, with what it cost.
func formatHash(salt, key []byte) string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads, enc.EncodeToString(salt), enc.EncodeToString(key))
}

func (p *Passwords) key(password string, salt []byte, time, memory uint32, threads uint8, length uint32) []byte {
	p.places <- struct{}{}
	defer func() { <-p.places }()
	p.hashed.Add(1)
	return argon2.IDKey([]byte(password), salt, time, memory, threads, length)
}

// Verify reports, as an error of code Denied, a password that is not the user's. nil stands for a user that
// does not exist, and costs as much.
func (p *Passwords) Verify(u *cloud.User, password string) error {
	hash, known := p.nobody, false
	if u != nil && u.Password != "" {
		hash, known = u.Password, !u.Disabled
	}
	if p.matches(hash, password) && known {
		return nil
	}
	return cloud.Errorf(cloud.Denied, "the user name or the password is wrong").WithHint("an admin can set another one: micro user password NAME")
}

// matches compares in constant time.
func (p *Passwords) matches(hash, password string) bool {
	h, err := parseHash(hash)
	if err != nil || len(password) > maxPassword {
		return false
	}
	key := p.key(password, h.salt, h.time, h.memory, h.threads, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

type parsedHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// parseHash reads "$argon2id$v=19$m=19456,t=2,p=1$SALT$KEY". What would cost more than a node has is refused.
func parseHash(text string) (h parsedHash, err error) {
	bad := fmt.Errorf("unknown password hash")
	fields := strings.Split(text, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, bad
	}
	if n, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil || n != 3 {
		return h, bad
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil {
		return h, bad
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(fields[5]); err != nil {
		return h, bad
	}
	if h.memory > 1<<20 || h.time < 1 || h.time > 100 || h.threads < 1 || len(h.key) < 16 || len(h.key) > 128 {
		return h, bad
	}
	return h, nil
}
