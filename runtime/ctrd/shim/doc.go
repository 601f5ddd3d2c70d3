// Package shim is the process between micro and its containers: containerd's own shim for runc, with
// nothing around it. It outlives micro, holds the containers' exit codes until somebody asks, and is
// shared by the instances of an app's release.
package shim
