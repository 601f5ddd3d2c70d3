// Package images is the node's store of images: it pulls and imports them, unpacks their layers, names them,
// and removes those that nothing needs. Their bytes are in containerd's content store and snapshots.
//
// Invariant: an image is its digest, and its record is written last. So an image is either wholly there,
// unpacked and checked against its limits, or not at all; what an interrupted pull left is kept by a lease
// that the next Open drops. Nobody who may only push can change what a name means to others.
package images
