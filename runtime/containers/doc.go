// Package containers is the driver of real containers: it starts, watches, measures and removes them, on the
// containerd of package engine.
//
// Invariant: the record in containerd's store comes before snapshot and task, and goes last. All that
// Start makes on the host is named after its container (snapshot, namespaces, link, cgroup, bundle), so
// that List can tell what an interrupted Start or Remove left behind and remove it: what has no record
// must not exist.
package containers
