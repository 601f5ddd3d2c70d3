// Package repository fetches the files of a commit from a Git server, for ADD in Dockerfiles. It does not need the program
// git.
//
// It uses the smart HTTP protocol, fetches one commit without its history, and writes the commit's files without Git's
// own. It writes nothing outside of the given folder.
package repository
