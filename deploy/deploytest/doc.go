// Package deploytest is a cloud in memory, for tests of what pushes and changes it: a store, the instances
// that are observed, a builder and an image store.
//
// The invariant: Lead does what a node does with a release, at once and on the real cloud.State alone, unless
// a test decides otherwise. So a test sees the phases and errors that a node would have, without containers.
package deploytest
