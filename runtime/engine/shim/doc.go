// Package shim is the process between micro and its containers: containerd's own shim for runc, with changes that
// have a file each. micro starts it before any container is to run in it, and what a start or an end would wait
// for in vain is left out (start.go, ending.go, info.go). Containers inherit its resource limits (rlimit.go). It
// mounts their files (rootfs.go) and writes their logs (service.go, logfile.go). It kills those that must not run twice when
// their node may have lost its lease (fence.go). It outlives micro, holds the containers' exit codes until micro asks
// for them, and is shared by the instances of an app's release.
package shim
