package leader

import (
	"fmt"
	"strings"

	"github.com/protoduction/micro/traffic"
)

// tell adds to the events what a step's comparison has found, once for each verdict, and that the step is held. That
// a step is taken or the route goes back is an event of the state's change.
func (c *Crossfades) tell(at route, j Judgement) {
	object := string(at.host) + at.path
	e := Event{Group: j.Fade.To.Group, App: j.Fade.To.App, Release: j.Fade.To.N, Object: object}
	if len(j.Findings) > 0 && (j.Verdict == traffic.NoWorse || j.Verdict == traffic.Worse) && c.first(at, string(j.Verdict)) {
		findings := make([]string, len(j.Findings))
		for i, f := range j.Findings {
			findings[i] = fmt.Sprintf("%s: %s", f.Guard, f.Text)
		}
		e.Kind, e.Text = "crossfade.verdict", fmt.Sprintf("%s is %s than %s on %s: %s", j.Fade.To, j.Verdict, j.Fade.From, object, strings.Join(findings, "; "))
		c.Events.Note(e)
	}
	if j.Decision.Move == traffic.Hold && c.first(at, fmt.Sprintf("%d held %s", j.Fade.Step, j.Verdict)) {
		e.Kind, e.Text = "crossfade.held", fmt.Sprintf("cross-fade of %s waits at %v %%: %s", object, j.Fade.Share(), j.Decision.Why)
		c.Events.Note(e)
	}
}

// first says whether it is the first time that what is told of a route's cross-fade.
func (c *Crossfades) first(at route, what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pairs[at]
	if p == nil || p.told[what] {
		return false
	}
	p.told[what] = true
	return true
}
