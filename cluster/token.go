package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// Token lets one node join a cloud. It is a secret; the store has only its hash.
type Token struct {
	// Authority is the SHA-256 of the certificate of the cloud's nodes' authority: by it the new node knows the cloud.
	Authority [32]byte
	Secret    [32]byte
	// Addrs are nodes that the new one may ask.
	Addrs []netip.AddrPort
}

const tokenPrefix = "microjoin_"

// NewToken makes a token.
func NewToken(authority [32]byte, addrs []netip.AddrPort) Token {
	t := Token{Authority: authority, Addrs: addrs}
	rand.Read(t.Secret[:]) // never fails
	return t
}

// String returns the token as a user copies it.
func (t Token) String() string {
	b := append(append([]byte{}, t.Authority[:]...), t.Secret[:]...)
	for k, a := range t.Addrs {
		if k > 0 {
			b = append(b, ',')
		}
		b = append(b, a.String()...)
	}
	sum := sha256.Sum256(b)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:4]...))
}

// ParseToken parses a token as a user gives it.
func ParseToken(text string) (t Token, err error) {
	bad := cloud.Errorf(cloud.Invalid, "the join token is not complete, or not a join token").WithHint("copy all of what micro cluster token prints")
	body, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok {
		return t, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || len(b) < 68 {
		return t, bad
	}
	b, check := b[:len(b)-4], b[len(b)-4:]
	if sum := sha256.Sum256(b); subtle.ConstantTimeCompare(sum[:4], check) == 0 {
		return t, bad
	}
	copy(t.Authority[:], b)
	copy(t.Secret[:], b[32:])
	for a := range strings.SplitSeq(string(b[64:]), ",") {
		addr, err := netip.ParseAddrPort(a)
		if err != nil {
			return t, bad
		}
		t.Addrs = append(t.Addrs, addr)
	}
	return t, nil
}

// ID names the token in the store, and Hash is what the store knows the secret by.
func (t Token) ID() string { return t.hash("id")[:16] }

// Hash returns the hash of the secret, in hex.
func (t Token) Hash() string { return t.hash("hash") }

func (t Token) hash(of string) string {
	sum := sha256.Sum256(append([]byte("micro join "+of+"\x00"), t.Secret[:]...))
	return hex.EncodeToString(sum[:])
}

func fingerprint(der []byte) [32]byte { return sha256.Sum256(der) }
