// Package datadir is the folder that a node keeps its data in: it is locked while the node runs, belongs to root
// alone, and remembers what the node chose by itself, so that the next start chooses the same.
package datadir
