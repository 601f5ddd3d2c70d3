// Package engine is containerd within this very process: its life, its folders, and the processes it works by.
//
// It owns containerd's two folders: Root, on disk, with images, snapshots and the containers' records, and
// State, on a tmpfs, with what lives no longer than the machine's uptime: bundles, sockets, pinned namespaces.
// It also owns the shims, which containers run in, and installs runc and the shim's program (package helpers).
// What containers and images are is not its business: packages containers and images stand on it, by its
// Client, its Context and its folders.
//
// Invariant: containers belong to their shims, not to this process. They run on when it ends, and the next
// Open finds them. Shims are told by their arguments: a shim that no bundle leads to ends when micro starts,
// and while micro runs too, except for the spare one.
package engine
