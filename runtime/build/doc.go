// Package build makes images from folders with a Dockerfile.
//
// BuildKit runs in a separate process (package child). The first build starts the process; it ends after some time
// without builds. So a Dockerfile that uses up the memory of the process, or crashes it, does not affect routing. This
// package is the node's side: it starts the process with limits, sends it builds over a private socket, and translates
// its answers.
//
// It owns Config.Root (BuildKit's cache index), two sockets under Config.State and the cgroup Config.Cgroup. Layers and
// images belong to the node's containerd: a built image runs without push or pull.
//
// Invariant: lifetimes are bound to open files. A build lasts as long as its connection to the process, the network of
// a step as long as the process's connection to the node, and the process as long as its standard input is open. If one
// side dies, the kernel closes these files and the other side cleans up.
package build
