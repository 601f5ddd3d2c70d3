// Package disk measures what a node's data takes.
package disk
