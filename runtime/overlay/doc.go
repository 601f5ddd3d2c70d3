// Package overlay mounts as many layers on each other as the kernel stacks.
//
// mount(2) takes one page of options, and the names of the layers are most of them: containerd's own mounting,
// which names layers from the folder that they have in common, ends at 380 to 480 layers, the sooner the more
// snapshots a node has made. This package opens each layer and names it by its descriptor, so that 500 names
// take half a page, whatever the folders are called.
//
// The invariant: what is mounted has the layers that were asked for, in their order. Nothing is shortened that
// somebody else reads: the names exist for the time of the system call.
package overlay
