// Package repository brings the files of a commit from a Git server, without the program git: a Dockerfile's ADD may
// have a repository as its source, and a node needs no programs of the host's.
//
// It speaks the smart HTTP protocol, asks for one commit without its history, and writes the commit's files and
// nothing of Git's own. Nothing is written outside of the folder that it is given.
package repository
