// Package helpers brings along the three programs that running a container takes: runc, the shim, and the init
// that is process 1 of a container (init/init.c).
//
// A release holds them (build tag embedhelpers, made by build.sh). Without the tag, runc and the init come from
// PATH, and micro itself is the shim, by another name. Where PATH has no init, containers run without.
package helpers
