// Package disk keeps work that fills a disk from filling it up: builds, pulls and imports end before the
// node's own store has no room left to write to. It also sets limits on the files below a folder, where the file
// system has project quotas.
package disk
