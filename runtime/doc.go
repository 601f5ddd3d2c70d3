// Package runtime turns what a cloud.State asks for into running containers on this node.
//
// It decides purely and acts thinly: Plan compares this node's places, which package leader has assigned, with what
// was observed and returns steps, and the agent carries steps out through a Driver. The only truth about a running container is the container itself: after a restart the agent
// asks the Driver what there is and goes on from there, so nothing need be remembered and nothing can
// be remembered wrongly.
//
// The driver for real containers is runtime/containers. It runs them on containerd, whose life is
// runtime/engine, from images in runtime/images. runtimetest has a driver that fails or crashes at a
// chosen call. Nothing outside this folder knows of containerd.
package runtime
