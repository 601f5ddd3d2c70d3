// Package seal encrypts secrets before they are stored.
//
// A secret is sealed with age (https://age-encryption.org/v1) for the cloud's own key, which is in a file
// outside the data folder. Without that file, the store, its backups, watches and logs reveal no secret. Each
// secret is sealed together with the name of its place, and Open accepts it only at that place: so an
// attacker who can write to the store cannot move a secret to a place that another app reads.
//
// The file may have several keys. The first one seals, and all of them open. So a new key can be introduced
// while secrets sealed with the old one can still be opened.
package seal
