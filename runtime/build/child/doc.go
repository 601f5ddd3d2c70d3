// Package child is the build process: BuildKit's solver on the node's own containerd, so that a build
// needs neither push nor pull. It is the node's program run again under a hidden argument, with a
// process and a mount namespace of its own: when it ends, however it ends, the kernel takes every step
// it ran and every mount it made with it.
package child
