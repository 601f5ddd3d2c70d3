// Package hosttest gives a test program a machine of its own: a network namespace and a mount namespace that
// are gone with it, and an empty /run/micro. Tests that start containerd, shims or containers run in it, so
// that nothing of theirs can stay on the developer's machine.
package hosttest
