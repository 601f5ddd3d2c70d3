package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/protoduction/micro/cloud"
)

// A token is "micro_", its ID, 256 random bits and a checksum, in digits and letters. The prefix lets programs
// that search for leaked secrets find it; the checksum tells a mistyped one before anything is looked up.
const (
	tokenPrefix   = "micro_"
	idLength      = 10
	secretLength  = 43 // digits of base 62 that 256 bits take
	sumLength     = 6
	tokenLength   = len(tokenPrefix) + idLength + secretLength + sumLength
	secretBytes   = 32
	tokenAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// NewToken returns a new token, its ID, and the hash that is kept of it.
func NewToken() (text string, id cloud.TokenID, hash string) {
	secret := make([]byte, secretBytes)
	rand.Read(secret) // it never fails
	name := strings.ToLower(rand.Text()[:idLength])
	text = tokenPrefix + name + digits(new(big.Int).SetBytes(secret), secretLength)
	text += checksum(text)
	return text, cloud.TokenID(name), hashOf(text)
}

// ParseToken returns a token's ID and hash; an error of code Unauthenticated for a text that is none.
func ParseToken(text string) (id cloud.TokenID, hash string, err error) {
	bad := func(why string) (cloud.TokenID, string, error) {
		return "", "", cloud.Errorf(cloud.Unauthenticated, "the token %s", why).WithCommand("micro login")
	}
	body, isOurs := strings.CutPrefix(text, tokenPrefix)
	switch {
	case !isOurs:
		return bad("is not one of micro's: those begin with " + tokenPrefix)
	case len(text) != tokenLength, strings.Trim(body, tokenAlphabet) != "", checksum(text[:tokenLength-sumLength]) != text[tokenLength-sumLength:]:
		return bad("is not whole: a part of it is missing or mistyped")
	}
	return cloud.TokenID(body[:idLength]), hashOf(text), nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func checksum(text string) string {
	return digits(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), sumLength)
}

// digits writes a number in base 62 with so many digits.
func digits(n *big.Int, length int) string {
	base, digit := big.NewInt(int64(len(tokenAlphabet))), new(big.Int)
	out := make([]byte, length)
	for i := length - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = tokenAlphabet[digit.Int64()]
	}
	return string(out)
}
