// Package child is the build process: BuildKit's solver on the node's own containerd, so that a build needs no push and no
// pull. It is the node's program with a hidden argument. It has its own process and mount namespaces: when it ends, for
// whatever reason, the kernel ends all steps and removes all mounts.
package child
