// Package traffic decides how a cross-fade goes on: it compares what two releases did at the same time,
// and says when the new one takes more, waits, or goes back. All of it is pure.
//
// A Trial gathers the evidence: bets that are fair as long as the new release is no worse, so that their winnings
// say how surely it is. They may be looked at as often as anybody likes, and stopped at any time for any reason,
// without that making them wrong more often than they say. Next decides from a trial's Judgement, and from nothing
// else but the fade, the releases' readiness, the rate of requests and the time. docs/verdict.md has the method
// and its sources.
package traffic
