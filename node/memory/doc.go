// Package memory measures the node's own memory, and gives back to the system what the node no longer uses.
package memory
