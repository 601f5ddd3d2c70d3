// Package hosttest runs a test program in its own network and mount namespaces, with an empty /run/micro. Tests that
// start containerd, shims or containers use it, so that they leave nothing on the developer's machine.
package hosttest
