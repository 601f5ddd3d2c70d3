// Package program is micro as a whole: the command line, the node that it starts, and the helpers that a node starts the
// same file for. On systems other than Linux it is the command line alone, for clouds that run elsewhere.
package program
