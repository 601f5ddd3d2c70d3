// Package source decides which files of a folder are sent to be built, writes them as a tar stream, and
// unpacks such a stream where nobody's word is taken for anything.
//
// The invariant of sending: the same files give the same bytes, whatever the order of the folder on the
// disk, and nothing from outside the folder is sent. The invariant of unpacking: nothing is written but
// below the given folder, no link is left there that leads out of it, and after an error nothing is left
// at all. Both go through os.Root, so that a folder that is changed meanwhile does not change that.
package source
