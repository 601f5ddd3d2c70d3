// Package traffic decides how a cross-fade goes on: it compares what two releases did at the same time,
// and says when the new one takes more, waits, or goes back. All of it is pure.
//
// The comparison may be looked at as often as anybody likes, and stopped at any time for any reason,
// without that making it wrong more often than it says: its bounds are confidence sequences, which hold
// at all times at once. docs/verdict.md has the method and its sources.
package traffic
