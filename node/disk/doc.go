// Package disk measures the disk space that a node's data uses.
package disk
