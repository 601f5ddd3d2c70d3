// Package helpers brings along the two programs that running a container takes: runc and the shim.
//
// A release holds both (build tag embedhelpers, made by build.sh). Without the tag, runc comes from
// PATH and micro itself is the shim, by another name.
package helpers
