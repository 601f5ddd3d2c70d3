package router

import (
	"math/bits"

	"github.com/protoduction/micro/cloud"
)

// rule leads the requests that match a condition to a pool.
type rule struct {
	when cloud.Condition
	pool *Pool
}

// rules makes those of a route ready whose releases have instances. A request of another one is led as if there were
// no rule.
func (j *compilation) rules(all []cloud.Rule) (made []rule) {
	for _, r := range all {
		for _, p := range j.serving(r.To) {
			if len(p.Endpoints) > 0 {
				made = append(made, rule{r.When, p})
				break
			}
		}
	}
	return made
}

// rule returns the first rule of the route that the request matches, nil for none.
func (c *choice) rule() *rule {
	for i := range c.route.rules {
		if r := &c.route.rules[i]; c.matches(&r.when) {
			return r
		}
	}
	return nil
}

func (c *choice) matches(when *cloud.Condition) bool {
	switch when.By {
	case cloud.WhenHeader:
		for nth := 0; ; nth++ {
			v := c.fields.field(when.Name, nth)
			if v == nil {
				return false
			}
			if when.Value == "" || string(v) == when.Value {
				return true
			}
		}
	case cloud.WhenCookie:
		v := c.cookieValue(when.Name)
		return v != nil && (when.Value == "" || string(v) == when.Value)
	case cloud.WhenAddress:
		return when.Network.Contains(c.from.peer.Addr())
	case cloud.WhenPercent:
		known := c.known
		if !c.sticks {
			known = c.hash(c.from.client)
		}
		// Other bits than those that choose among the releases of the weights.
		part, _ := bits.Mul64(mix(known^percentRules), 100)
		return int(part) < when.Percent
	}
	return false
}

// percentRules makes the choice of clients by rules another one than that by weights.
const percentRules = 0x5851f42d4c957f2d
