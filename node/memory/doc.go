// Package memory measures the node's own memory, and returns unused memory to the system.
package memory
