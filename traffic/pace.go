package traffic

import (
	"time"

	"github.com/protoduction/micro/cloud"
)

// If micro chooses the steps, the budget limits the share: even if the new release is as bad as the evidence still
// allows, it must be detected before it has harmed more requests than the budget.
const (
	// reaction is the time from gross harm to the roll-back.
	reaction = 4 * time.Second
	// stake is the part of the budget that one reaction may cost. Smaller harm needs more evidence, for which the rest of
	// the budget is kept.
	stake = 0.25
	// topShare is the largest share while evidence is collected. With a larger share more requests are harmed before harm
	// is detected, because there are fewer requests of the old release to compare with.
	topShare = 25
	// lastShare comes between the verdict and the end, and lasts lastDwell: it shows faults under load.
	lastShare = 50
	lastDwell = 30 * time.Second
	// A cross-fade that has taken twice its time gets half of the traffic, for a sooner verdict, if the possible harm is at
	// most mostDoubt and the odds of harm are below mostOdds. After three times its time it ends if half of that harm is
	// excluded: the proof of "no worse" takes too long by chance alone.
	mostDoubt = 0.02
	mostOdds  = 0.3
	// leastShare is the smallest share in percent; largestRaise is the largest ratio of a share to the one before.
	leastShare   = 0.1
	largestRaise = 10
	// leastDwell is the shortest time at a share.
	leastDwell = 10 * time.Second
	// slack multiplies the evidence that a good release needs on average, because some of its requests fail by chance.
	slack = 1.5
)

// needed returns the share in percent at which a good release is judged in time. A larger share would not detect harm with
// fewer harmed requests, because there are fewer requests of the old release to compare with.
func needed(f *cloud.Crossfade, j Judgement, rate float64, now time.Time) float64 {
	begun := f.Began()
	if f.Step == 0 {
		begun = now
	}
	left := time.Duration(f.Over) - lastDwell - 3*leastDwell - now.Sub(begun)
	if rate <= 0 || left < leastDwell {
		return topShare
	}
	return min(100*slack*j.Missing/(rate*left.Seconds()), topShare)
}

// affordable returns the largest share in percent that the budget allows if the possible harm is as given.
func affordable(f *cloud.Crossfade, rate, possible float64) float64 {
	if rate <= 0 || possible <= 0 {
		return topShare
	}
	share := 100 * stake * float64(f.Budget) / (rate * possible * reaction.Seconds())
	return min(max(share, leastShare), topShare)
}

// nextShare returns the share that follows the current one, 100 for the end, and whether time and evidence allow it. rate
// is the host's requests per second.
func nextShare(f *cloud.Crossfade, j Judgement, rate float64, now time.Time) (share float64, allowed bool) {
	possible := possibleHarm(f, j)
	if planned := f.Planned(); planned > 0 {
		// The possible harm, counted over all of the host's requests, must be within the margins or the budget.
		share, top := planned, min(planned, topShare)
		within := j.Verdict == NoWorse || planned < 100 && j.MoreErrors*planned/100 <= f.Errors && j.MoreSlow*planned/100 <= slowMargin
		return share, within || planned < 100 && affordable(f, rate, possible) >= top
	}
	has := f.Share()
	late := func(times int, doubt float64) bool {
		return now.Sub(f.Began()) >= time.Duration(times)*time.Duration(f.Over) && possible <= doubt && j.Odds < mostOdds
	}
	switch {
	case has >= lastShare:
		return 100, j.Verdict == NoWorse || late(3, mostDoubt/2)
	case has >= topShare:
		return lastShare, j.Verdict == NoWorse || late(2, mostDoubt)
	}
	share = min(affordable(f, rate, possible), needed(f, j, rate, now))
	if has > 0 {
		share = min(share, has*largestRaise)
	}
	if share > 0.8*topShare {
		share = topShare // leave out a step that hardly differs from the next
	}
	return round(share), has == 0 || share >= min(2*has, topShare)
}

// possibleHarm returns the harm that the cross-fade's guards have not excluded.
func possibleHarm(f *cloud.Crossfade, j Judgement) float64 {
	possible := j.MoreErrors // even if errors are no guard: total failure is always detected
	for _, g := range f.Guards {
		if Guard(g) == Latency {
			possible = max(possible, j.MoreSlow)
		}
	}
	return possible
}

// round rounds a share down to whole percent, or to tenths below 1 %.
func round(share float64) float64 {
	if share < 1 {
		return max(leastShare, float64(int(share*10))/10)
	}
	return float64(int(share))
}
