// Package janitor frees disk space on a node: images of releases that nobody can go back to, logs and volumes of
// apps that are deleted.
//
// It goes by what is on the disk and by the state alone, so what a kill has cut off is done the next time. It
// decides nothing about releases: the leader writes which of them have been given up.
package janitor
