// Package ctrd runs containers on a containerd that lives in this very process.
//
// It owns containerd's two folders: Root, on disk, with images, snapshots and the containers' records,
// and State, on a tmpfs, with what lives no longer than the machine's uptime: bundles, sockets, pinned
// namespaces. Containers belong to their shims, not to this process: they go on when it ends, and the
// next Open finds them.
//
// Invariant: the record in containerd's store comes before snapshot and task, and goes last. All that
// Start makes on the host is named after its container (snapshot, namespaces, link, cgroup, bundle), so
// that List can tell what an interrupted Start or Remove left behind and take it away: what has no record
// has no right to be. Shims are told by their arguments: one that no bundle leads to ends when micro
// starts, and while it runs too, but for the spare one.
package ctrd
