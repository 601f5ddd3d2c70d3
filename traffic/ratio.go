package traffic

import (
	"fmt"
	"math"
	"time"
)

// ratio compares the number of the new release's requests with the number that its weight implies (sample-ratio check). A
// mismatch means that requests go elsewhere or are lost. Then the comparison can't be trusted, and the cross-fade holds.
type ratio struct {
	Got      float64 `json:"got"`
	Expected float64 `json:"expected"`
	Variance float64 `json:"variance"` // of Got, if the release of each request were random
	All      float64 `json:"all"`
}

// ratioMemory is the time constant with which old counts are forgotten.
const ratioMemory = 10 * time.Minute

// Share sets the share of requests, in percent, that the new release gets from now on. 0 turns the check off, for sticky
// routes and while an instance is missing.
func (t *Trial) Share(percent float64) { t.share = percent / 100 }

// add counts the requests that were sent to both releases in a time span.
func (r *ratio) add(old, new uint64, share float64, took time.Duration) {
	forget := math.Exp(-took.Seconds() / ratioMemory.Seconds())
	n := float64(old + new)
	r.All = r.All*forget + n
	r.Got = r.Got*forget + float64(new)
	r.Expected = r.Expected*forget + n*share
	r.Variance = r.Variance*forget + n*share*(1-share)
}

// mismatch describes a difference between shares and weights; "" if there is none. The router distributes requests far
// more evenly than chance. Five standard deviations plus 5 % leave room for requests that are under way.
func (r ratio) mismatch() string {
	if math.Abs(r.Got-r.Expected) <= 20+5*math.Sqrt(r.Variance)+r.Expected/20 {
		return ""
	}
	return fmt.Sprintf("it got %.1f %% of the requests instead of %.1f %%, so the figures can't be compared", 100*r.Got/r.All, 100*r.Expected/r.All)
}
