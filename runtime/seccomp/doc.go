// Package seccomp says which system calls a container of an app and a step of a build may not make, beyond those
// that the usual profiles refuse: both stand behind the same wall.
package seccomp
