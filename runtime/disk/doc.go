// Package disk keeps space free on a disk: builds, pulls and imports are cancelled before the node's own store has no
// room to write. It also limits the files below a folder, if the file system has project quotas.
package disk
