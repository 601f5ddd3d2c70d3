// Package traffic decides how a cross-fade goes on: it compares two releases over the same time, and decides whether
// the new one gets a larger share, waits, or goes back. All functions are pure.
//
// A Trial collects the evidence. It bets against "the new release is no worse": as long as that is true the bets are
// fair, so large winnings are evidence of harm. The evidence may be checked at any time and as often as needed; its
// error rate stays the same (anytime-valid inference). Next decides the next move from the trial's Judgement, the
// cross-fade, the readiness of the releases, the rate of requests and the time. docs/verdict.md explains the method and
// names its sources.
package traffic
