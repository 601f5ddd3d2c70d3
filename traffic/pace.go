package traffic

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// A cross-fade whose steps micro chooses raises the share as far as the budget allows: were the new release as bad
// as can't be excluded yet, it must be found out before too many requests have met it.
const (
	// reaction is how long it takes from gross harm to the way back.
	reaction = 4 * time.Second
	// stake is the part of the budget that one reaction may cost. Harm that is less than gross takes
	// more evidence, and the rest of the budget.
	stake = 0.25
	// topShare is the largest share while evidence is gathered. A larger one finds harm later, counted in harmed
	// requests, since the old release is known less well.
	topShare = 25
	// lastShare comes between the verdict and the end, for lastDwell: what breaks under load breaks here.
	lastShare = 50
	lastDwell = 30 * time.Second
	// leastShare is the smallest, and largestRaise how many times larger the next one may be.
	leastShare   = 0.1
	largestRaise = 10
	// leastDwell is the time at a share before the next: a release must be seen at it.
	leastDwell = 10 * time.Second
)

// affordable is the largest share in percent that the budget allows while so much harm is possible.
func affordable(f *cloud.Crossfade, rate, possible float64) float64 {
	if rate <= 0 || possible <= 0 {
		return topShare
	}
	share := 100 * stake * float64(f.Budget) / (rate * possible * reaction.Seconds())
	return min(max(share, leastShare), topShare)
}

// nextShare is the share to go to when the present one has been judged, 100 for the end, and whether the evidence
// allows it already. rate is the host's requests a second.
func nextShare(f *cloud.Crossfade, j Judgement, rate float64) (share float64, allowed bool) {
	possible := possibleHarm(f, j)
	if planned := f.Planned(); planned > 0 {
		// What is possible at the host as a whole must be within the margins, or within the budget.
		share, top := planned, min(planned, topShare)
		within := j.Verdict == NoWorse || planned < 100 && j.MoreErrors*planned/100 <= f.Errors && j.MoreSlow*planned/100 <= slowMargin
		return share, within || planned < 100 && affordable(f, rate, possible) >= top
	}
	now := f.Share()
	switch {
	case now >= lastShare:
		return 100, true
	case now >= topShare:
		return lastShare, j.Verdict == NoWorse
	}
	share = affordable(f, rate, possible)
	if now > 0 {
		share = min(share, now*largestRaise)
	}
	if share > 0.8*topShare {
		share = topShare // a step that hardly differs from the next is none
	}
	return round(share), now == 0 || share >= min(2*now, topShare)
}

// possibleHarm is the harm that the fade's guards have not excluded.
func possibleHarm(f *cloud.Crossfade, j Judgement) float64 {
	possible := j.MoreErrors // also where errors are no guard: what fails altogether is always found
	for _, g := range f.Guards {
		if Guard(g) == Latency {
			possible = max(possible, j.MoreSlow)
		}
	}
	return possible
}

// round gives a share that is easily read: whole percent, and tenths below one.
func round(share float64) float64 {
	if share < 1 {
		return max(leastShare, float64(int(share*10))/10)
	}
	return float64(int(share))
}
