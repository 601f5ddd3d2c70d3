// Package simulate runs cross-fades of made-up traffic through the decisions of package traffic, one second at a
// time. Its seeds are fixed: the same fade goes the same way. The tests of traffic and docs/verdict.md's tables
// stand on it.
package simulate
