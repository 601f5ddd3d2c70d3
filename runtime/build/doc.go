// Package build makes images from folders with a Dockerfile.
//
// BuildKit runs in a process of its own (package child), which is started at the first build and gone
// when there has been none for a while: someone's Dockerfile may use up that process's memory, or crash
// it, and the node goes on routing. This package is the node's side: it starts the process within
// limits, hands it a build on a private socket, and puts what comes back into the node's words.
//
// It owns Config.Root (BuildKit's cache index), two sockets under Config.State and the cgroup
// Config.Cgroup. Layers and images are not its own: they live in the node's containerd, from where a
// built image runs with neither push nor pull.
//
// Invariant: a connection is a claim. A build lasts as long as its connection to the process, a step's
// network as long as the process's connection to the node, and the process as long as its standard
// input is open. Whoever dies, the kernel closes these, and what hung on them goes.
package build
