// Package durable writes files that a power cut leaves whole. Its invariant: a file has its old content or its new one, and
// once WriteFile has returned it has the new one.
package durable
