// Package runtime runs the containers that a cloud.State asks for on this node.
//
// Plan is a pure function: it compares this node's places, which package leader has assigned, with the observed
// instances, and returns steps. The agent carries the steps out through a Driver. The only truth about a running
// container is the container itself: after a restart the agent lists the Driver's containers and goes on from
// there, so it needs no memory that could be wrong.
//
// Package runtime/containers is the driver for real containers. It runs them on containerd, which runtime/engine
// starts and stops, from images in runtime/images. Package runtimetest has a driver that fails or crashes at a
// chosen call. Nothing outside this folder uses containerd.
package runtime
