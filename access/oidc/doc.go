// Package oidc asks an OpenID Connect provider who somebody is, by the authorization code flow with PKCE (RFC 7636) and
// by the device flow (RFC 8628).
//
// The invariant: it keeps nothing between the steps of a log-in, so that any node may take the next one, and a person is
// whom the provider's signature names for this client and this very log-in (nonce).
package oidc
