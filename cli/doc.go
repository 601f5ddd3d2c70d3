// Package cli is micro's command line: one file a command. It speaks to a cloud through package api
// alone, and does nothing that another program could not do by the same calls.
//
// Data goes to standard output and everything else to standard error. Nothing that an app or a peer
// wrote reaches a terminal with its control characters. A failed command ends with one message, "error:
// what was tried and found", and where there is one with "hint: the next thing to try"; its exit code
// is cloud.Code's.
package cli
