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
	// Where a fade has taken twice its time, half of the traffic brings the verdict sooner. That is given to a release of
	// which hardly any harm is possible, mostDoubt, and against which so much speaks as mostOdds: less than nothing.
	mostDoubt = 0.02
	mostOdds  = 0.3
	// leastShare is the smallest, and largestRaise how many times larger the next one may be.
	leastShare   = 0.1
	largestRaise = 10
	// leastDwell is the time at a share before the next: a release must be seen at it.
	leastDwell = 10 * time.Second
	// slack is how much more evidence is planned for than a good release needs on average: some of its requests fail
	// by chance.
	slack = 1.5
)

// needed is the share in percent at which a good release is judged in time. There is no reason for a larger one: it would
// find no harm with fewer harmed requests, since the old release is known less well beside it.
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

// affordable is the largest share in percent that the budget allows while so much harm is possible.
func affordable(f *cloud.Crossfade, rate, possible float64) float64 {
	if rate <= 0 || possible <= 0 {
		return topShare
	}
	share := 100 * stake * float64(f.Budget) / (rate * possible * reaction.Seconds())
	return min(max(share, leastShare), topShare)
}

// nextShare is the share to go to when the present one has been judged, 100 for the end, and whether it is time for it and
// the evidence allows it. rate is the host's requests a second.
func nextShare(f *cloud.Crossfade, j Judgement, rate float64, now time.Time) (share float64, allowed bool) {
	possible := possibleHarm(f, j)
	if planned := f.Planned(); planned > 0 {
		// What is possible at the host as a whole must be within the margins, or within the budget.
		share, top := planned, min(planned, topShare)
		within := j.Verdict == NoWorse || planned < 100 && j.MoreErrors*planned/100 <= f.Errors && j.MoreSlow*planned/100 <= slowMargin
		return share, within || planned < 100 && affordable(f, rate, possible) >= top
	}
	has := f.Share()
	switch {
	case has >= lastShare:
		return 100, j.Verdict == NoWorse
	case has >= topShare:
		late := now.Sub(f.Began()) >= 2*time.Duration(f.Over) && possible <= mostDoubt && j.Odds < mostOdds
		return lastShare, j.Verdict == NoWorse || late
	}
	share = min(affordable(f, rate, possible), needed(f, j, rate, now))
	if has > 0 {
		share = min(share, has*largestRaise)
	}
	if share > 0.8*topShare {
		share = topShare // a step that hardly differs from the next is none
	}
	return round(share), has == 0 || share >= min(2*has, topShare)
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
