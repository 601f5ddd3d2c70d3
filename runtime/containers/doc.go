// Package containers is the driver for real containers: it starts, watches, measures and removes them with the
// containerd of package engine.
//
// Invariant: a container's record in containerd's store is made before its snapshot and task, and removed last.
// Everything that Start makes on the host is named after its container (snapshot, namespaces, link, cgroup, bundle). So
// List can find and remove the remains of an interrupted Start or Remove: whatever has no record must not exist.
package containers
