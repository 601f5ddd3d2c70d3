// Package seccomp tightens the usual seccomp profile. Containers of apps and steps of builds use the same profile.
package seccomp
