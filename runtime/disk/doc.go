// Package disk keeps work that fills a disk from filling it up: builds, pulls and imports end before the
// node's own store has no room left to write to.
package disk
