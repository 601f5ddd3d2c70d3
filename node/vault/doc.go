// Package vault keeps secrets that all nodes of a cloud share and that are no part of what is desired, such as the
// certificates of public hosts: below "vault/" in the store's engine, each sealed for its own place.
package vault
