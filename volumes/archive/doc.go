// Package archive writes a folder to a stream, and makes the same folder of it again: with owners, modes, times, extended
// attributes, symbolic and hard links, FIFOs, and the holes of sparse files. Sockets are left out, because each belongs to
// the process that has bound it.
//
// An archive is a tar stream in PAX format. User and group IDs are those that the files have on disk. Volumes have on disk
// the IDs that apps see (the container's mount shifts them to the group's range), so an archive fits every node and group.
//
// Invariant: Read takes nothing for a whole archive whose end is missing, and writes nothing outside its folder, whatever
// the archive says.
package archive
