// Package remote configures access to image registries: credentials, mirrors, certificates, and the explanation of
// failures. Pulls and builds share it, so that every base image of a build can also be pushed as an image.
//
// It reads the files of other tools on the host: Docker's config.json (auths, credHelpers, credsStore) and
// containerd's certs.d/<host>/hosts.toml. It writes nothing and keeps no secret in memory.
package remote
