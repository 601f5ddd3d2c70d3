package certs

import (
	"crypto/hkdf"
	"crypto/sha256"
	"strconv"
	"time"
)

// ticketEpoch is how long a key seals session tickets. One more epoch it opens them: a session can be resumed for
// 12 to 24 hours.
const ticketEpoch = 12 * time.Hour

// ticketKeys returns the keys of session tickets at a time, the one that seals first. They follow from the cloud's
// secret, so that each node resumes the sessions of all others. That of the next epoch is among them: the clock of
// another node may be ahead. A listener for the public has other keys than an internal one, whose sessions must
// mean nothing there.
func ticketKeys(secret []byte, internal bool, now time.Time) ([][32]byte, error) {
	side := "public"
	if internal {
		side = "internal"
	}
	epoch := now.Unix() / int64(ticketEpoch/time.Second)
	var keys [][32]byte
	for _, e := range []int64{epoch, epoch - 1, epoch + 1} {
		key, err := hkdf.Key(sha256.New, secret, nil, "micro TLS session tickets "+side+" "+strconv.FormatInt(e, 10), 32)
		if err != nil {
			return nil, err
		}
		keys = append(keys, [32]byte(key))
	}
	return keys, nil
}
