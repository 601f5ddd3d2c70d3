// Package seal makes secrets unreadable before they are stored.
//
// A secret is sealed with age (https://age-encryption.org/v1) for the cloud's own key, which lies in a
// file outside the data folder. Whoever gets at the store, a backup of it, its watch or a log has nothing
// without that file. Each secret is sealed together with the name of the place that it is kept at, and is
// opened at that place alone: whoever can write to the store cannot move a secret to where another reads it.
//
// The file may hold several keys. The first one seals, all of them open: a new key takes over while what
// the old one sealed can still be read.
package seal
