// Package access finds out who is calling: by a password, a token or an OpenID Connect provider. What the
// caller may do is package cloud's.
//
// The invariant: no secret is kept. Of a password the store has its argon2id hash, of a token its SHA-256; both
// are compared in constant time, and an unknown user costs as much as a wrong password. Log-ins that fail are
// limited for each user and each source. A token or user that is gone from the State is gone for the next
// request: nothing is remembered from one to the next but failed log-ins and when a token was last used.
package access
