// Package imagecopies brings images from other nodes: those that an instance on this node needs, and copies of all
// images that run anywhere.
//
// An image is built or pulled by one node. If that node were lost before another one has a copy, its apps could run
// nowhere. So each image that runs is on at least two nodes. Which ones is a pure function of the view (Holders), so
// that nodes agree without a word; each node fetches what it lacks.
//
// A name that an operator gave to an image (cloud.ImageName) counts on every node, because each may build or push what is
// based on it: so each node keeps the images that have names, and names them in its own store, where BuildKit looks them up.
package imagecopies
