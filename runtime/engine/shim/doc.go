// Package shim is the process between micro and its containers: containerd's own shim for runc. micro
// starts it by itself, before anything is to run in it, and what a start or an end would wait for in vain
// is done without: one file each (start.go, ending.go, info.go). It outlives micro, holds the containers' exit codes until somebody asks, and is
// shared by the instances of an app's release.
package shim
