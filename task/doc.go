// Package task tells whoever waits how far something is that takes long: which step is under way, and how many bytes it has
// copied.
//
// Invariant: after Done no more is told of a step.
package task
