package traffic

import (
	"fmt"
	"math"
	"time"
)

// ratio compares the requests that the new release got with those that its weight promises it. Where both are unlike, what is
// compared is not what is meant: requests go somewhere else, or are lost. Such a fault of measurement holds a fade.
type ratio struct {
	Got      float64 `json:"got"`
	Expected float64 `json:"expected"`
	Variance float64 `json:"variance"` // of Got, were each request sent by chance
	All      float64 `json:"all"`
}

// ratioMemory is how long a wrong share counts.
const ratioMemory = 10 * time.Minute

// Share says which part of the requests the new release is to have from now on, in percent. 0 is not known, as where clients
// are kept with their release, or where an instance is missing: then shares say nothing.
func (t *Trial) Share(percent float64) { t.share = percent / 100 }

// add counts the requests that both releases were sent in a time.
func (r *ratio) add(old, new uint64, share float64, took time.Duration) {
	forget := math.Exp(-took.Seconds() / ratioMemory.Seconds())
	n := float64(old + new)
	r.All = r.All*forget + n
	r.Got = r.Got*forget + float64(new)
	r.Expected = r.Expected*forget + n*share
	r.Variance = r.Variance*forget + n*share*(1-share)
}

// unlike says in words that the shares came out unlike the weights; "" where they did not. The router's schedule is far more
// exact than chance: five standard deviations and a twentieth leave room for requests that were under way.
func (r ratio) unlike() string {
	if math.Abs(r.Got-r.Expected) <= 20+5*math.Sqrt(r.Variance)+r.Expected/20 {
		return ""
	}
	return fmt.Sprintf("it got %.1f %% of the requests and was to get %.1f %%: what is measured is not what is meant", 100*r.Got/r.All, 100*r.Expected/r.All)
}
