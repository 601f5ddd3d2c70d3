// Package datadir manages the data folder of a node. The folder is locked while the node runs and belongs to root
// only. It stores values that the node chose itself, so that the next start uses the same ones.
package datadir
