// Package remote says how this node reaches image registries: with whose credentials, over which mirrors
// and certificates, and what a failure to reach one means. Pulls and builds share it, so that what a
// build can use as a base can also be pushed as an image.
//
// It reads what other tools have left on the host: Docker's config.json (auths, credHelpers, credsStore)
// and containerd's certs.d/<host>/hosts.toml. It writes nothing and keeps no secret in memory.
package remote
