// Package api is the contract between a cloud and those who use it: the types of every read and write
// under /v1, the codec between cloud.Error and problem documents (RFC 9457), the framing of exec, and
// Client, which is all that the command line has of a cloud, on this machine or through ssh on another.
//
// The invariant: JSON names only ever join; none is renamed, none changes its meaning. The types stand
// apart from those that a cloud stores, so that the store may change without the contract.
//
// Reads are bounded: lists come in pages (List) and Client puts them together. What takes long is a
// stream of server-sent events, and what is already on its way can be joined again by its number.
package api
